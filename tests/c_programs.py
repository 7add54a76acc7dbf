"""Programs of many emitted C models at once: each runs its own vectors in an arena of exactly its size.

The entry point for many events runs them, too, in calls of no event, of one, of nearly a block and of all the rest.
"""

import numpy as np

from edgephys.core import processes as tools
from edgephys.targets import sanitiser
from edgephys.targets.c import emit as c

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
SANITISED = (*WARNINGS, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

MODEL = """
#include "{p}.h"
void {p}_note(size_t at, int64_t value);
static int64_t {p}_noted[{results} + 1];
void {p}_note(size_t at, int64_t value) {{ {p}_noted[at] = value; }}
void {p}_batch_note(size_t lane, size_t at, int64_t value);
void {p}_batch_note(size_t lane, size_t at, int64_t value) {{ (void)lane; (void)at; (void)value; }}
static void {p}_all(void)
{{
    {p}_input_t *x = malloc(sizeof *x * {u}_INPUTS);
    {p}_output_t *y = malloc(sizeof *y * {u}_OUTPUTS);
    void *arena = malloc({u}_ARENA_BYTES);
    FILE *from = fopen("{p}.x", "rb"), *to = fopen("{p}.y", "wb");
    int64_t number;
    for (int v = 0; v < {count}; v++) {{
        for (int i = 0; i < {u}_INPUTS; i++) {{
            if (fread(&number, 8, 1, from) != 1)
                abort();
            x[i] = ({p}_input_t)number;
        }}
        {p}_run(x, y, arena);
        for (int i = 0; i < {u}_OUTPUTS; i++) {{
            number = (int64_t)y[i];
            fwrite(&number, 8, 1, to);
        }}
        fwrite({p}_noted, 8, {results}, to);
    }}
    fclose(from);
    fclose(to);
    free(x);
    free(y);
    free(arena);
}}
static void {p}_many(void)
{{
    const size_t sizes[] = {{0, 1, {u}_BATCH_LANES - 1, {u}_BATCH_LANES, {u}_BATCH_LANES + 1, {count}}};
    FILE *from = fopen("{p}.x", "rb"), *to = fopen("{p}.many", "wb");
    size_t left = {count};
    int64_t number;
    for (int call = 0; left > 0; call++) {{
        const size_t count = sizes[call] < left ? sizes[call] : left;
        {p}_input_t *x = malloc(sizeof *x * {u}_INPUTS * count);
        {p}_output_t *y = malloc(sizeof *y * {u}_OUTPUTS * count);
        unsigned char *arena = malloc({u}_BATCH_ARENA_BYTES);
        for (size_t i = 0; i < {u}_INPUTS * count; i++) {{
            if (fread(&number, 8, 1, from) != 1)
                abort();
            x[i] = ({p}_input_t)number;
        }}
        for (size_t i = 0; i < {u}_BATCH_ARENA_BYTES; i++)
            arena[i] = 0xA5;
        {p}_run_batch(x, y, count, arena);
        for (size_t i = 0; i < {u}_OUTPUTS * count; i++) {{
            number = (int64_t)y[i];
            fwrite(&number, 8, 1, to);
        }}
        free(x);
        free(y);
        free(arena);
        left -= count;
    }}
    fclose(from);
    fclose(to);
}}
"""


def run_together(folder, graphs, xs, style="auto", compiler="gcc", flags=SANITISED):
    """Return [(outputs, {layer: integers})] of graphs in one program, in which both entry points agree."""
    made = []
    for number, graph in enumerate(graphs):
        made.append(c.emit(graph, folder, c.COptions(prefix=f"m{number}_model", style=style, batch=True)))
    parts = ["#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n"]
    for facts, x in zip(made, xs, strict=True):
        p = facts["prefix"]
        np.ascontiguousarray(x, np.int64).tofile(folder / f"{p}.x")
        parts.append(MODEL.format(p=p, u=p.upper(), results=_results(facts), count=len(x)))
    calls = "".join(f"    {facts['prefix']}_all();\n    {facts['prefix']}_many();\n" for facts in made)
    (folder / "main.c").write_text("".join(parts) + f"\nint main(void)\n{{\n{calls}    return 0;\n}}\n")
    looking = [f"-D{facts['prefix'].upper()}_PROBE" for facts in made]
    sources = [f"{facts['prefix']}{ending}.c" for facts in made for ending in ("", "_batch")]
    tools.run([*tools.find(compiler).command, *flags, *looking, "main.c", *sources, "-o", "all"], folder, 300)
    tools.run([*sanitiser.at_fixed_addresses(), str(folder / "all")], folder, 100)
    return [_read(folder, facts, x) for facts, x in zip(made, xs, strict=True)]


def _results(facts):
    return sum(int(np.prod(entry["shape"])) for entry in facts["probes"])


def _read(folder, facts, x):
    y = np.fromfile(folder / f"{facts['prefix']}.y", np.int64).reshape(len(x), -1)
    outputs = y.shape[1] - _results(facts)
    many = np.fromfile(folder / f"{facts['prefix']}.many", np.int64).reshape(len(x), -1)
    np.testing.assert_array_equal(many, y[:, :outputs], "many events in a call, and one in each")
    edges = {facts["input"]["node"]: x}
    for entry in facts["probes"]:
        start = outputs + entry["at"]
        found = y[:, start : start + int(np.prod(entry["shape"]))]
        edges[entry["node"]] = found.reshape(len(x), *entry["shape"])
    layers = {layer: edges[node] for layer, node in facts["layers"].items()}
    return y[:, :outputs].reshape(len(x), *facts["output"]["shape"]), layers
