"""Products of words of four bytes or two numbers of 16 bits: the same integers with their instructions and without."""

import numpy as np
import pytest
from c_programs import SANITISED, WARNINGS, run_together
from random_graphs import random_graph, vectors
from test_c import found
from test_c_batch import emitted

from edgephys.core import machine
from edgephys.core.errors import MismatchError, ProjectError
from edgephys.core.fixed import Fixed
from edgephys.core.rounding import Overflow, Rounding
from edgephys.graph import evaluate
from edgephys.graph.build import Builder
from edgephys.targets.c import batch, products, word_products
from edgephys.targets.c import emit as c
from edgephys.targets.c.scan import scan
from edgephys.targets.c.words import BYTES, FEATURES, HALVES, flags, functions
from edgephys.targets.registry import TARGETS
from edgephys.targets.target import EmittedProject

WORDS = flags(machine.describe()["features"])
HIDDEN = ("-march=native", "-mno-avx512vnni") if WORDS else ()
needs_the_instructions = pytest.mark.skipif(not WORDS, reason="this processor has no AVX-512 VNNI")
BODIES = [pytest.param((), id="digits"), pytest.param(WORDS, id="words", marks=needs_the_instructions)]


@pytest.fixture
def always(monkeypatch):
    """Take words wherever they hold the inputs and the weights, however few these are."""
    monkeypatch.setattr(word_products, "instructions", lambda *words: 0)


def network(inputs, channels, fixed, weights, rows=1):
    """Return a product, a bias and a rounding that overflows, then a product of bytes."""
    builder = Builder("words")
    x = builder.input("x", (rows, inputs) if rows > 1 else (inputs,), fixed)
    x = builder.bias("first", builder.dense("first", x, weights, 0), np.arange(channels) - 2, 0)
    fixed = Fixed(False, 8, 12, Rounding.RND_CONV, Overflow.SAT)
    x = builder.requantise("first", builder.relu("first", x), fixed)
    last = np.random.default_rng(inputs).integers(-128, 128, (channels, 5))
    return builder.finish(builder.dense("last", x, last, 0))


def drawn(inputs, channels, low, high, seed=0):
    """Return random weights, of which one output has the lowest and one the highest alone."""
    weights = np.random.default_rng(seed).integers(low, high + 1, (inputs, channels))
    weights[:, 0] = low
    weights[:, -1] = high
    return weights


def corners(graph, count):
    """Return vectors whose first ones are the ends of the input's format, all alike and at random."""
    x, fixed = vectors(graph, count), graph.input.fixed
    x[0], x[1] = fixed.low, fixed.high
    x[2:20] = np.random.default_rng(1).choice([fixed.low, fixed.high], x[2:20].shape)
    return x


# Exact --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    ("fixed", "low", "high", "word"),
    [
        (Fixed(False, 8, 8), -128, 127, "bytes"),
        (Fixed(True, 8, 8), -128, 127, "halves"),
        (Fixed(False, 8, 8), -129, 127, "halves"),
        (Fixed(False, 15, 15), -1000, 1000, "halves"),
        (Fixed(True, 16, 16), -1000, 1000, "halves"),
        (Fixed(False, 16, 16), -1000, 1000, None),
        (Fixed(False, 3, 3), -32768, 32767, "halves"),
        (Fixed(False, 3, 3), -32769, 32767, None),
    ],
)
def test_inputs_and_weights_at_their_ends_are_exact_in_both_bodies(body, fixed, low, high, word, always, tmp_path):
    graph = network(9, 6, fixed, drawn(9, 6, low, high))
    facts, x = emitted(graph, tmp_path), corners(graph, 70)
    assert facts["batch"]["words"].get("first_requantise") == word
    scan(tmp_path, facts)
    outputs, edges = c.probe_batch(tmp_path, facts, x, (*WARNINGS, "-O1", *body))
    golden = evaluate.trace(graph, {graph.input.name: x})
    np.testing.assert_array_equal(outputs, golden[graph.output.name])
    assert {"first_requantise", "last_dense"} <= edges.keys()
    for node, integers in edges.items():
        np.testing.assert_array_equal(integers, golden[node])


@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("lanes", [32, 64])
def test_every_size_of_product_and_of_call_is_exact_with_sanitisers(body, lanes, always, monkeypatch, tmp_path):
    """Calls of none, one, one less than a block, a block, one more, and the rest."""
    monkeypatch.setattr(batch, "LANES", lanes)
    sizes = [(1, 1, 1), (2, 3, 1), (3, 4, 2), (4, 5, 1), (5, 8, 3), (7, 9, 1), (30, 2, 1), (61, 17, 1)]
    many = [network(k, n, Fixed(False, 8, 8), drawn(k, n, -128, 127), rows) for k, n, rows in sizes]
    many += [network(k, n, Fixed(True, 13, 13), drawn(k, n, -300, 300), rows) for k, n, rows in sizes]
    xs = [corners(graph, 4 * lanes + 9) for graph in many]
    runs = run_together(tmp_path, many, xs, flags=(*SANITISED, *body))
    for graph, x, (outputs, _) in zip(many, xs, runs, strict=True):
        np.testing.assert_array_equal(outputs, evaluate.run(graph, x))


@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
def test_random_graphs_are_exact_in_both_bodies(body, always, tmp_path):
    many = [random_graph(seed, steps=9) for seed in range(2000, 2020)]
    xs = [vectors(graph, 2 * batch.LANES + 5) for graph in many]
    runs = run_together(tmp_path, many, xs, flags=(*SANITISED, *body))
    used = [emitted(graph, tmp_path / str(n))["batch"].get("words") for n, graph in enumerate(many)]
    assert sum(map(bool, used)) >= 5
    for graph, x, (outputs, _) in zip(many, xs, runs, strict=True):
        np.testing.assert_array_equal(outputs, evaluate.run(graph, x))


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    "options",
    [(), HIDDEN, pytest.param(("-march=native",), marks=needs_the_instructions)],
    ids=["plain", "none", "all"],
)
def test_a_compiler_with_the_instructions_and_one_without_compute_the_same(compiler, options, tmp_path):
    found(compiler)
    graph = network(64, 40, Fixed(False, 8, 8), drawn(64, 40, -128, 127))
    x = corners(graph, 150)
    ((outputs, _),) = run_together(tmp_path, [graph], [x], compiler=compiler, flags=(*WARNINGS, "-O3", *options))
    np.testing.assert_array_equal(outputs, evaluate.run(graph, x))


def test_words_hold_weights_with_the_first_one_in_the_lowest_bits():
    for packing in (BYTES, HALVES):
        weights = np.random.default_rng(0).integers(
            -(1 << (packing.bits - 1)), 1 << (packing.bits - 1), (9, packing.parts)
        )
        words = packing.words(weights).astype("<i4")
        np.testing.assert_array_equal(words.view(f"<i{packing.bits // 8}").reshape(weights.shape), weights)


# Where they are used ------------------------------------------------------------------------------


def test_a_product_takes_words_where_its_digits_take_more_instructions_and_the_facts_say_which(tmp_path):
    dense = network(64, 32, Fixed(False, 8, 8), drawn(64, 32, -128, 127))
    assert emitted(dense, tmp_path / "dense")["batch"]["words"]["first_requantise"] == "bytes"
    weights = drawn(64, 32, -128, 127)
    weights[np.random.default_rng(1).random(weights.shape) < 0.9] = 0
    sparse = network(64, 32, Fixed(False, 8, 8), weights)
    assert "first_requantise" not in emitted(sparse, tmp_path / "sparse")["batch"]["words"]


@pytest.mark.parametrize("body", BODIES)
def test_a_layer_of_too_many_weights_for_digits_takes_words_instead_of_loops_over_tables(body, monkeypatch, tmp_path):
    monkeypatch.setattr(products, "STRAIGHT_IN_LANES", 100)
    graph = network(21, 12, Fixed(False, 8, 8), drawn(21, 12, -128, 127), 2)
    facts, x = emitted(graph, tmp_path), corners(graph, 70)
    assert facts["batch"]["words"]["first_requantise"] == "bytes"
    outputs, edges = c.probe_batch(tmp_path, facts, x, (*WARNINGS, "-O1", *body))
    np.testing.assert_array_equal(outputs, evaluate.run(graph, x))
    golden = evaluate.trace(graph, {graph.input.name: x})
    np.testing.assert_array_equal(edges["first_requantise"], golden["first_requantise"])


def test_loops_over_tables_that_are_an_option_and_words_that_fill_the_cache_are_no_words(always, monkeypatch, tmp_path):
    graph = network(9, 5, Fixed(False, 8, 8), drawn(9, 5, -128, 127))
    assert emitted(graph, tmp_path / "loops", style="loops")["batch"]["words"] == {}
    for most, words in ((9 * batch.LANES, {"first_requantise", "last_dense"}), (9 * batch.LANES - 1, {"last_dense"})):
        monkeypatch.setattr(word_products, "MOST_BYTES", most)
        assert emitted(graph, tmp_path / str(most))["batch"]["words"].keys() == words


def test_a_source_without_such_a_product_names_no_instruction(tmp_path):
    graph = network(2, 1, Fixed(False, 2, 2), np.ones((2, 1), int))
    assert emitted(graph, tmp_path)["batch"]["words"] == {}
    assert "immintrin" not in (tmp_path / "words_batch.c").read_text()


def test_a_processor_without_the_instructions_compiles_one_body(always, tmp_path, monkeypatch):
    facts = emitted(network(5, 4, Fixed(False, 8, 8), drawn(5, 4, -9, 9)), tmp_path)
    monkeypatch.setattr(machine, "describe", lambda: {"features": ["avx512f"]})
    assert c.with_words(facts) == []
    monkeypatch.setattr(machine, "describe", lambda: {"features": list(FEATURES)})
    assert [options for _, _, options in c.with_words(facts)] == [("-mavx512f", "-mavx512vnni")]
    assert c.with_words({"batch": {}}) == []


@needs_the_instructions
def test_a_changed_weight_of_a_word_is_a_difference_of_the_run_with_words_alone(always, tmp_path):
    firmware = tmp_path / "firmware"
    graph = network(5, 4, Fixed(False, 8, 8), drawn(5, 4, -9, 9))
    facts, x = emitted(graph, firmware), corners(graph, 40)
    project = EmittedProject(tmp_path, "words", graph, facts, {}, {}, lambda command: None, lambda: x)
    source = firmware / "words_batch.c"
    head, table = source.read_text().split("words_1[", 1)
    size, numbers = table.split("{\n    ", 1)
    first, rest = numbers.split(",", 1)
    source.write_text(f"{head}words_1[{size}{{\n    {int(first) ^ 1 << 20},{rest}")
    runs = {other.name: other.run for other in TARGETS["c"].other_runs(project, False) if "batch" in other.name}
    golden = evaluate.run(graph, x)
    for name in ("c_batch", "c_batch_sanitised"):
        np.testing.assert_array_equal(runs[name](x).outputs, golden)
    assert (runs["c_batch_words"](x).outputs != golden).any()
    with pytest.raises(MismatchError, match="layer 'last'"):
        runs["c_batch_words_sanitised"](x)


# A received source ---------------------------------------------------------------------------------

OWN = functions("words", 32, (BYTES,))
ATTACKS = {
    "another instruction": (lambda text: text.replace("dpbusd_epi32", "dpbusds_epi32", 1), "the directive"),
    "another place": (lambda text: text.replace("words + 32 * k", "words + 33 * k", 1), "the directive"),
    "another header": (lambda text: text.replace("<immintrin.h>", "<stdlib.h>"), "the directive"),
    "another condition": (lambda text: text.replace("#if defined(__AVX512F__) && ", "#if "), "the directive"),
    "twice": (lambda text: text + OWN, "the directive"),
    "behind something on its line": (lambda text: text.replace("\n#if defined", "\n/**/ #if defined"), "#"),
    "the header elsewhere": (lambda text: text + "#include <immintrin.h>\n", "the directive '#include <immintrin.h>'"),
    "an instruction elsewhere": (
        lambda text: text + "static void words_x(int *a) { _mm512_storeu_si512(a, _mm512_setzero_si512()); }\n",
        "a call or declaration of '_mm512_storeu_si512'",
    ),
    "a type of vectors elsewhere": (lambda text: text + "static __m512i x;\n", "the word '__m512i'"),
    "a call in its comment": (lambda text: text.replace(f"\n{OWN}", f"\n/*\n{OWN}*/\n"), "call or declaration of"),
    "the macro": (lambda text: text + "#define WORDS_WORDS system\n", "the directive '#define WORDS_WORDS"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_differs_from_the_functions_of_words_that_we_emit_is_refused(attack, always, tmp_path):
    facts = emitted(network(5, 4, Fixed(False, 8, 8), drawn(5, 4, -9, 9)), tmp_path)
    source = tmp_path / "words_batch.c"
    text = source.read_text()
    assert f"\n{OWN}" in text
    scan(tmp_path, facts)
    change, message = ATTACKS[attack]
    source.write_text(change(text))
    assert source.read_text() != text
    with pytest.raises(ProjectError, match="which we do not emit: nothing was compiled or run") as refused:
        scan(tmp_path, facts)
    assert "words_batch.c, line " in str(refused.value) and message in str(refused.value)


def test_the_functions_are_admitted_in_the_source_of_many_events_alone_and_keep_the_numbers_of_lines(always, tmp_path):
    facts = emitted(network(5, 4, Fixed(False, 8, 8), drawn(5, 4, -9, 9)), tmp_path)
    source = tmp_path / "words_batch.c"
    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines, "int x = system(1);"]))
    with pytest.raises(ProjectError, match=f"words_batch.c, line {len(lines) + 1}: a call or declaration of 'system'"):
        scan(tmp_path, facts)
    source.write_text("\n".join([*lines, ""]))
    single = tmp_path / "words.c"
    single.write_text(f"{single.read_text()}\n{OWN}")
    with pytest.raises(ProjectError, match=r"words.c, line \d+: the directive '#if defined"):
        scan(tmp_path, facts)


@pytest.mark.parametrize("lanes", [32, 64])
def test_the_functions_hold_nothing_that_begins_or_ends_a_comment_or_a_text(lanes):
    """What is taken out as a whole must not change what the text behind it is."""
    text = functions("p", lanes, (BYTES, HALVES))
    assert not any(sign in text for sign in ("/*", "*/", "//", '"', "'", "\\")) and text.endswith("#endif\n")
