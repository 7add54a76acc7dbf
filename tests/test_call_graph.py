"""The deepest stack of a program, read from the call graph that gcc writes."""

import pytest

from edgephys.core.errors import ModelError
from edgephys.targets.c import call_graph

GRAPH = """\
graph: { title: "m.c"
node: { title: "m.c:leaf" label: "leaf\\nm.c:3:38\\n80 bytes (static)" }
node: { title: "wide" label: "wide\\nm.c:3:38\\n100 bytes (dynamic,bounded)" }
node: { title: "top" label: "top\\nm.c:4:6\\n16 bytes (static)" }
node: { title: "memset" label: "__builtin_memset\\n<built-in>" shape : ellipse }
edge: { sourcename: "wide" targetname: "memset" }
edge: { sourcename: "top" targetname: "m.c:leaf" label: "m.c:4:87" }
edge: { sourcename: "top" targetname: "wide" }
"""


def test_the_deepest_stack_is_the_longest_path_not_the_sum():
    assert call_graph.deepest(GRAPH, "top") == call_graph.Stack(116, ("memset",))
    assert call_graph.deepest(GRAPH, "m.c:leaf") == call_graph.Stack(80, ())


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('edge: { sourcename: "wide" targetname: "top" }', "function 'top' calls itself"),
        ('edge: { sourcename: "wide" targetname: "__indirect_call" }', "function 'wide' calls by pointer"),
        ('node: { title: "v" label: "v\\nm.c:1:1\\n8 bytes (dynamic)" }', "function 'v' must be of a fixed size"),
    ],
)
def test_a_stack_without_a_bound_is_refused(more, why):
    with pytest.raises(ModelError, match=why):
        call_graph.deepest(f"{GRAPH}{more}\n", "top")
    with pytest.raises(ModelError, match="function 'gone' must be compiled here"):
        call_graph.deepest(GRAPH, "gone")
