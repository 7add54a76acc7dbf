"""The C target: the graph's integers exactly, in clean C99 that several models share a program in."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from c_programs import WARNINGS, run_together
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from random_graphs import field_graphs, graphs, random_graph, vectors

from edgephys.core import processes as tools
from edgephys.core.errors import MismatchError, ModelError, ProjectError, ToolError, UsageError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.graph.graph import Constant, Graph, Node
from edgephys.graph.ops import Dense, Input
from edgephys.targets.c import emit as c
from edgephys.targets.c.options import STYLES

ACTIVATION = Fixed(False, 8, 0, Rounding.RND_CONV, Overflow.SAT)


def found(name):
    try:
        return tools.find(name)
    except ToolError as error:
        pytest.skip(str(error))


def jets(rows=8, hidden=6, seed=0, density=1.0, name="Jets 8-bit"):
    """A small Deep Sets."""
    generator = np.random.default_rng(seed)

    def weights(*shape):
        return generator.integers(-127, 127, shape) * (generator.random(shape) < density)

    builder = Builder(name)
    x = builder.input("x", (rows, 3), Fixed(True, 12, 4, Rounding.RND_CONV, Overflow.SAT))
    for layer, fan_in in (("phi_1", 3), ("phi_2", hidden)):
        x = builder.relu(
            layer, builder.bias(layer, builder.dense(layer, x, weights(fan_in, hidden), 7), weights(hidden), 7)
        )
        x = builder.requantise(layer, x, ACTIVATION)
    x = builder.requantise("pool", builder.scale("pool", builder.sum("pool", x, 0), np.array(1), 3), ACTIVATION)
    return builder.finish(builder.bias("logits", builder.dense("logits", x, weights(hidden, 5), 7), weights(5), 7))


def waves(height=9, width=11, channels=4, window=(3, 5), rounding=Rounding.RND_CONV):
    """A small convolutional network with a skip."""
    generator = np.random.default_rng(1)
    fixed = Fixed(False, 8, 0, rounding, Overflow.SAT)
    builder = Builder("waves")
    frames = x = builder.input("frames", (height, width, 3), Fixed(True, 10, 3))
    fan_in = 3
    for layer in ("stage_1", "stage_2"):
        seen = builder.window(f"{layer}_window", x, window)
        kernel = generator.integers(-127, 127, (window[0] * window[1] * fan_in, channels))
        x = builder.requantise(layer, builder.relu(layer, builder.dense(layer, seen, kernel, 9)), fixed)
        fan_in = channels
    last = builder.dense("last", x, generator.integers(-9, 9, (channels, 1)), 3)
    skip = builder.dense("skip", frames, np.array([[2], [-1], [0]]), 0)
    return builder.finish(builder.requantise("next", builder.add("next", last, skip), Fixed(True, 12, 3)))


def differing(graph, x, found_layers):
    trace = evaluate.trace(graph, {graph.input.name: x})
    return [layer for layer, node in graph.layers() if not np.array_equal(found_layers[layer], trace[node.name])]


def emitted(graph, folder, **options):
    return c.emit(graph, folder, c.COptions(**options))


# Exact --------------------------------------------------------------------------------------------


@given(st.data(), st.sampled_from(STYLES))
@settings(max_examples=3, phases=(Phase.generate,))  # to shrink is to compile again and again
@pytest.mark.slow
def test_twenty_random_graphs_in_one_program_keep_every_layers_integers(data, style):
    """With address and undefined-behaviour sanitisers, and all warnings on. Drawn within: twenty are long to print."""
    drawn = st.lists(st.one_of(graphs(), graphs(steps=9), field_graphs()), min_size=20, max_size=20)
    found_graphs = data.draw(drawn, label="graphs")
    xs = [vectors(graph, 20) for graph in found_graphs]
    with tempfile.TemporaryDirectory() as folder:
        for graph, x, (y, layers) in zip(
            found_graphs, xs, run_together(Path(folder), found_graphs, xs, style), strict=True
        ):
            np.testing.assert_array_equal(y, evaluate.run(graph, x))
            assert not differing(graph, x, layers)


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("first", range(0, 100, 25))
def test_a_hundred_more_random_graphs_are_exact(first, style, tmp_path):
    many = [random_graph(seed, steps=9) for seed in range(first, first + 25)]
    xs = [vectors(graph, 30) for graph in many]
    for graph, x, (_, layers) in zip(many, xs, run_together(tmp_path, many, xs, style), strict=True):
        assert not differing(graph, x, layers)


@pytest.mark.slow
@pytest.mark.parametrize("style", [pytest.param(s, marks=pytest.mark.slow) if s != "auto" else s for s in STYLES])
def test_networks_of_more_rows_than_a_loop_holds_lanes_are_exact(style, tmp_path):
    """Rows in tiles, primes among them; sparse weights as lists; lines of a field with their edges."""
    many = [
        jets(), jets(96, 5), jets(67, 3), jets(130, 9, density=0.1), jets(20, 40, density=0.05), waves(),
        waves(5, 70, 2, (1, 3)), waves(3, 2, 5, (4, 2)), waves(12, 12, 1, (5, 1)), waves(rounding=Rounding.TRN),
    ]  # fmt: skip
    xs = [vectors(graph, 20) for graph in many]
    for graph, x, (_, layers) in zip(many, xs, run_together(tmp_path, many, xs, style), strict=True):
        assert not differing(graph, x, layers)


@pytest.mark.slow
def test_every_mode_is_exact_at_every_number_of_dropped_bits(tmp_path):
    """From no bit to more than the value has, on both sides of zero; some need 64 bits on the way."""
    many = []
    for rounding in Rounding:
        builder = Builder("modes")
        x = builder.input("x", (40,), Fixed(True, 9, 9))
        parts = [
            builder.requantise(f"l{drop}_{overflow.value}", x, Fixed(signed, bits, bits + drop, rounding, overflow))
            for drop in (-3, 0, 1, 2, 8, 9, 10, 31, 33, 62)
            for overflow in Overflow
            for signed, bits in ((True, 4), (False, 3))
        ]
        many.append(builder.finish(builder.concat("all", tuple(parts), 0)) if rounding is None else None)
        many[-1] = [builder.finish(part) for part in parts]
    flat = [graph for group in many for graph in group][::3]
    x = np.arange(-256, 256).reshape(-1, 32)
    xs = [np.resize(x, (14, 40)) for _ in flat]
    for graph, values, (_, layers) in zip(
        flat, xs, run_together(tmp_path, flat, xs, flags=(*WARNINGS, "-O0")), strict=True
    ):
        assert not differing(graph, values, layers), str(graph.output.fixed)


def test_sums_of_sixty_bits_are_exact(tmp_path):
    builder = Builder("wide")
    x = builder.input("x", (3, 2), Fixed(True, 40, 40))
    x = builder.dense("heavy", x, np.array([[1 << 18, -((1 << 19) - 1), 3], [-(1 << 18), 5, 1 << 17]]), 0)
    graph = builder.finish(builder.bias("heavy", x, np.array([1 << 50, -(1 << 50), 1]), 0))
    x = vectors(graph, 50)
    for style in STYLES:
        (tmp_path / style).mkdir()
        facts = emitted(graph, tmp_path / style, style=style)
        np.testing.assert_array_equal(c.run(tmp_path / style, facts, x), evaluate.run(graph, x))
        assert facts["output"]["type"] == "int64_t"


def test_sums_of_32_bits_whose_terms_need_33_are_exact_and_compile_without_a_warning(tmp_path):
    builder = Builder("between")
    x = builder.input("x", (3, 2), Fixed(False, 18, 18))
    x = builder.dense("first", x, np.array([[-5595, -5012, 3477], [3149, 8057, -4468]]), 0)
    graph = builder.finish(builder.dense("last", x, np.array([[1], [2], [3]]), 0))
    x = vectors(graph, 50)
    for style in STYLES:
        (tmp_path / style).mkdir()
        outputs, _ = run_together(tmp_path / style, [graph], [x], style, flags=(*WARNINGS, "-O0"))[0]
        np.testing.assert_array_equal(outputs, evaluate.run(graph, x))


# The source ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
def test_the_object_has_one_global_name_and_nothing_that_can_be_written(style, tmp_path):
    """No state, no heap, no libm: gcc itself may only call for memory to be copied or set."""
    for graph in (jets(), waves()):
        prefix = emitted(graph, tmp_path, style=style)["prefix"]
        gcc = tools.find("gcc").command
        tools.run([*gcc, *WARNINGS, "-O3", "-c", f"{prefix}.c", "-o", "model.o"], tmp_path, 100)
        symbols = [line.split()[-2:] for line in tools.run(["nm", "model.o"], tmp_path, 20).splitlines()]
        assert [name for kind, name in symbols if kind.isupper() and kind != "U"] == [f"{prefix}_run"]
        assert {kind for kind, _ in symbols} <= set("TtrRU")
        assert {name for kind, name in symbols if kind == "U"} <= {"memcpy", "memset"}
        code = re.sub(r"/\*.*?\*/", "", (tmp_path / f"{prefix}.c").read_text(), flags=re.S)
        assert not re.search(r"\b(float|double|malloc|math\.h)\b", code)


@pytest.mark.parametrize("style", STYLES)
def test_clang_and_a_microcontroller_take_it_without_a_warning(style, tmp_path):
    compilers = [found("clang").command, (*found("arm-none-eabi-gcc").command, "-mcpu=cortex-m3", "-mthumb")]
    for graph in (jets(), waves(), *(random_graph(seed, steps=9) for seed in range(6))):
        prefix = emitted(graph, tmp_path, style=style)["prefix"]
        for command in compilers:
            tools.run([*command, *WARNINGS, "-Os", "-c", f"{prefix}.c", "-o", "model.o"], tmp_path, 100)


def test_clang_computes_the_same(tmp_path):
    found("clang")
    many = [jets(), waves(), *(random_graph(seed) for seed in range(6))]
    xs = [vectors(graph, 20) for graph in many]
    runs = run_together(tmp_path, many, xs, compiler="clang", flags=(*WARNINGS, "-O2"))
    for graph, x, (_, layers) in zip(many, xs, runs, strict=True):
        assert not differing(graph, x, layers)


def test_two_emissions_are_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        emitted(waves(), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


@pytest.mark.parametrize("bits, lines", [
    (20, ["11 * (x0[r] - x0[r + 8] + x0[r + 16])"]),
    (6, ["same_11 = x0[r] - x0[r + 8] + x0[r + 16];", "(4 * (4 * same_11 - same_11) - same_11)"]),
])  # fmt: skip
def test_zero_weights_emit_nothing_and_shared_ones_are_multiplied_once(bits, lines, tmp_path):
    builder = Builder("shared")
    x = builder.input("x", (8, 5), Fixed(True, bits, bits))
    graph = builder.finish(builder.dense("layer", x, np.array([[11], [0], [-11], [11], [0]]), 0))
    emitted(graph, tmp_path)
    source = (tmp_path / "shared.c").read_text()
    assert source.count("x0[r] -") == 1
    assert all(line in source for line in lines), source


@pytest.mark.parametrize("style", STYLES)
def test_windows_under_weights_of_zero_alone_are_not_read(style, tmp_path):
    """Found by the fuzz: neighbours beyond the edges have no place in an array."""
    many = []
    for rows, columns in ((1, 1), (3, 4), (1, 40)):
        builder = Builder("zeros")
        x = builder.input("x", (rows, columns, 2), Fixed(True, 5, 3))
        summed = builder.dense("layer", builder.window("layer", x, (2, 3)), np.zeros((12, 3), int), 2)
        many.append(builder.finish(builder.bias("layer", summed, np.array([3, 0, -2]), 2)))
    xs = [vectors(graph, 20) for graph in many]
    for graph, x, (outputs, _) in zip(many, xs, run_together(tmp_path, many, xs, style), strict=True):
        np.testing.assert_array_equal(outputs, evaluate.run(graph, x))


def test_layers_of_too_many_weights_are_loops_and_the_source_stays_small(tmp_path):
    sizes = {}
    for style in ("auto", "loops"):
        facts = emitted(jets(8, 64, name="large"), tmp_path, style=style)
        sizes[style] = ((tmp_path / "large.c").stat().st_size, facts["const_bytes"])
    assert sizes["auto"][1] >= 64 * 64  # over 2,048 weights: a table even so
    assert sizes["loops"][0] < 30_000


def test_facts_say_what_lies_where(tmp_path):
    facts = emitted(jets(), tmp_path)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["prefix"] == "jets_8_bit"
    assert facts["arena_bytes"] == facts["bound_bytes"] < facts["no_sharing_bytes"]
    assert facts["carriers"] == {
        "phi_1_requantise": "uint8_t", "phi_2_requantise": "uint8_t", "pool_requantise": "uint8_t",
        "logits_bias": "int32_t",
    }  # fmt: skip
    assert all(t["offset"] + t["bytes"] <= facts["arena_bytes"] for t in facts["tensors"])
    header = (tmp_path / "jets_8_bit.h").read_text()
    assert f"#define JETS_8_BIT_ARENA_BYTES {facts['arena_bytes']}" in header
    assert "typedef int16_t jets_8_bit_input_t;" in header
    assert "#define JETS_8_BIT_INPUT_SHAPE_1 3" in header


def test_windows_take_no_memory(tmp_path):
    """Two fields of 4 channels are alive at once; their windows of 15 neighbours never are."""
    assert emitted(waves(), tmp_path)["arena_bytes"] <= 2 * 9 * 11 * 4 + 16


# Found and refused --------------------------------------------------------------------------------


def test_a_corrupted_weight_is_found_in_its_layer(tmp_path):
    graph, x = jets(), vectors(jets(), 50)
    facts = emitted(graph, tmp_path)
    assert not differing(graph, x, c.probe(tmp_path, facts, x))
    path = tmp_path / "jets_8_bit.c"
    source = path.read_text()
    start = source.index("/* layer phi_2")
    weight = re.compile(r"(\d+) \* x0").search(source, start)
    path.write_text(source[: weight.start(1)] + str(int(weight[1]) + 1) + source[weight.end(1) :])
    assert differing(graph, x, c.probe(tmp_path, facts, x))[0] == "phi_2"
    assert not np.array_equal(c.run(tmp_path, facts, x), evaluate.run(graph, x))


def test_probing_leaves_the_outputs_alone(tmp_path):
    graph, x = waves(), vectors(waves(), 10)
    facts = emitted(graph, tmp_path)
    np.testing.assert_array_equal(c.run(tmp_path, facts, x), c.probe(tmp_path, facts, x)["next"])


@pytest.mark.parametrize("prefix", ["1x", "", "int", "namespace", "Jets", "a__b", "a_", "a-b", "_a"])
def test_a_prefix_that_c_cannot_have_is_refused(prefix):
    with pytest.raises(UsageError, match=rf"prefix must be .*not '{prefix}'"):
        c.COptions(prefix=prefix)


@pytest.mark.parametrize(("name", "prefix"), [("8 bit", "m_8_bit"), ("float", "m_float"), ("_", "model"), ("Ä b", "b")])
def test_a_graphs_name_becomes_a_prefix(name, prefix, tmp_path):
    assert emitted(jets(name=name), tmp_path)["prefix"] == prefix


def test_a_style_that_there_is_not_is_refused():
    with pytest.raises(UsageError, match="style must be one of auto, unrolled, loops, not 'fast'"):
        c.COptions(style="fast")


def test_a_graph_of_over_62_bits_is_refused_by_its_layers_name(tmp_path):
    x = Node("x", Input(), (), (2,), Fixed(True, 60, 60), "x")
    heavy = Node("y", Dense(Constant(np.array([[9], [9]]), 0)), ("x",), (1,), Fixed(True, 62, 62), "heavy")
    with pytest.raises(ModelError, match=r"layer 'heavy': dense 'y' may need over 62 bits"):
        emitted(Graph("wide", (x, heavy), ("x",), ("y",)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_graph_that_computes_nothing_is_refused(tmp_path):
    builder = Builder("nothing")
    graph = builder.finish(builder.input("x", (2,), Fixed(True, 4, 4)))
    with pytest.raises(ModelError, match="graph 'nothing': its output is its input"):
        emitted(graph, tmp_path)


def test_vectors_of_another_shape_and_missing_sources_are_refused(tmp_path):
    facts = emitted(jets(), tmp_path)
    with pytest.raises(MismatchError, match=r"C target: vectors must be integers \(1 or more, 8, 3\), not int64"):
        c.run(tmp_path, facts, np.zeros((4, 8), np.int64))
    (tmp_path / "jets_8_bit.h").unlink()
    with pytest.raises(ProjectError, match=r"jets_8_bit\.h is missing; emit the project again"):
        c.run(tmp_path, facts, vectors(jets(), 2))


def test_the_compilers_words_are_told(tmp_path):
    facts = emitted(jets(), tmp_path)
    path = tmp_path / "jets_8_bit.c"
    path.write_text(path.read_text().replace("const int32_t sum =", "const int32_t total =", 1))
    with pytest.raises(ToolError, match=r"gcc ended with status 1: .*'?sum'?.* undeclared"):
        c.run(tmp_path, facts, vectors(jets(), 2))


def test_the_tool_is_the_compiler():
    assert c.tool() == ("gcc", tools.find("gcc").version)


# C++ ----------------------------------------------------------------------------------------------


def test_models_of_every_input_format_share_a_cpp_program_and_take_values(tmp_path):
    """All modes of rounding and overflow of values into steps, as ``Fixed.quantise`` does."""
    values = np.array([k / 8 for k in range(-90, 91)] + [1e-9, -1e-9, 3.0624, -7.4376, 1e6, -1e6])
    formats = [Fixed(s, 6, 4, r, o) for r in Rounding for o in Overflow for s in (True, False)]
    lines, includes = [], []
    for number, fixed in enumerate(formats):
        builder = Builder(f"f{number}")
        x = builder.input("x", (2,), fixed)
        graph = builder.finish(builder.scale("twice", x, np.array(3), 1))
        facts = emitted(graph, tmp_path)
        p = facts["prefix"]
        includes.append(f'#include "{p}.hpp"')
        lines.append(
            f'    {{ {p}::Model model; std::printf("%s %s\\n", model.version(), model.graph());\n'
            f'    for (double value : values) std::printf("%.17g\\n", model({{value, 0.0}})[0]); }}'
        )
        assert f"inline namespace v{graph.digest[:8]}" in (tmp_path / f"{p}.hpp").read_text()
    listed = ", ".join(repr(float(value)) for value in values)
    main = ["#include <cstdio>", *includes, f"int main() {{ const double values[] = {{{listed}}};", *lines, "}"]
    (tmp_path / "main.cpp").write_text("\n".join(main) + "\n")
    warnings = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
    sources = [path.name for path in sorted(tmp_path.glob("f*.c"))]
    tools.run([*tools.find("gcc").command, *WARNINGS, "-c", *sources], tmp_path, 200)
    objects = [path.name for path in sorted(tmp_path.glob("f*.o"))]
    tools.run([*tools.find("g++").command, "-std=c++17", *warnings, "main.cpp", *objects, "-o", "all"], tmp_path, 200)
    words = iter(tools.run([str(tmp_path / "all")], tmp_path, 20).split("\n"))
    for number, fixed in enumerate(formats):
        builder = Builder(f"f{number}")
        digest = builder.finish(builder.scale("twice", builder.input("x", (2,), fixed), np.array(3), 1)).digest
        assert next(words) == f"v{digest[:8]} {digest}"
        wanted = fixed.values(fixed.quantise(values)) * 1.5
        np.testing.assert_array_equal([float(next(words)) for _ in values], wanted, str(fixed))


def test_a_value_that_is_no_number_is_refused_in_cpp(tmp_path):
    emitted(jets(), tmp_path)
    (tmp_path / "main.cpp").write_text(
        '#include "jets_8_bit.hpp"\nint main() { try { jets_8_bit::Model::quantised(0.0 / 0.0); }\n'
        "catch (const std::domain_error &) { return 0; } return 1; }\n"
    )
    tools.run([*tools.find("g++").command, "-std=c++17", "main.cpp", "-o", "all"], tmp_path, 100)
    tools.run([str(tmp_path / "all")], tmp_path, 10)
