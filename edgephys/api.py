"""The Python entry: load a model, emit it, verify and report, with the records that the commands use.

import edgephys as ep

model = ep.load("model.keras", data="mine.npz", input_format="fixed<12,4>")
project = model.emit("rtl", clock_ns=4)
project.verify()
project.report()["lut"].value
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgephys.core.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from edgephys.core.figure import Figure
    from edgephys.graph.graph import Graph
    from edgephys.models.card import Card
    from edgephys.models.model import Model
    from edgephys.project import Project
    from edgephys.verify.run import Verified

Say = Callable[[str], None]


def load(
    source: Any,
    data: str | Path | Mapping[str, ArrayLike] | None = None,
    input_format: str | None = None,
    out: str | Path | None = None,
    *,
    output_format: str | None = None,
    count: int = 1000,
    seed: int = 1,
    force: bool = False,
) -> LoadedModel:
    """Return a model as an exact Graph: a folder of ours as it is, anything else imported into ``out``.

    ``source`` is a folder that `edgephys train` or `import` wrote, a Keras, QKeras or ONNX file, or a Keras model.
    ``data`` is a file with x and perhaps y (.npz, .npy, .csv, HDF5) or a mapping of these names to arrays, x of shape
    (example, *input shape), in the model's own units. Without it, ``count`` random inputs are drawn with ``seed``,
    fewer for a large model.
    ``input_format`` is a format such as ``fixed<12,4>``; the data propose one where it is left out; to
    ``output_format`` the outputs of a Keras model are rounded, where they are floats. ``out`` is
    runs/<name> by default; ``force`` replaces a folder that is not ours.

    Raises: ModelError naming the layer that cannot be computed exactly; MismatchError where the Graph computes other
    integers than the framework; DataError for data that do not fit; UsageError for words that do not.
    """
    from edgephys.models.frameworks import load as load_folder

    with ExitStack() as stack:
        file = _file_of(source, stack)
        if file.is_dir():
            if data is not None or input_format is not None:
                raise UsageError(f"{file}: a folder of ours has its data and its format; leave both out")
            return LoadedModel(load_folder(file))
        from edgephys.core.fixed import Fixed
        from edgephys.models.import_plan import ImportPlan
        from edgephys.models.importing import import_file

        folder = Path(out) if out is not None else Path("runs") / file.stem
        fixed, ends = (None if text is None else Fixed.of_text(text) for text in (input_format, output_format))
        plan = ImportPlan(fixed, ends, _data_file(data, stack), count=count, seed=seed, force=force)
        imported = import_file(file, folder, plan)
        return LoadedModel(load_folder(folder), imported.warnings)


def open_project(folder: str | Path) -> OpenedProject:
    """Return an emitted project; raise ProjectError saying what is missing or damaged."""
    from edgephys.project import read

    return OpenedProject(read(Path(folder)))


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """Hold a model whose Graph computes the integers of its framework, and what its user should know of the import."""

    model: Model
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return a line: name, folder, shapes and formats of input and output."""
        ends = (self.graph.input, self.graph.output)
        shapes = " -> ".join(f"{list(node.shape)} of {node.fixed}" for node in ends)
        return f"LoadedModel({self.name}: {shapes}, {len(self.graph.nodes)} edges, in {self.folder})"

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def folder(self) -> Path:
        """Folder of the model."""
        return self.model.folder

    @property
    def graph(self) -> Graph:
        """Graph of the model: every edge with its fixed-point format."""
        return self.model.graph

    @property
    def card(self) -> Card:
        """Card of the model: where it came from, its figures and their digests."""
        return self.model.card

    def predict(self, x: ArrayLike | Sequence[ArrayLike] | Mapping[str, ArrayLike]) -> NDArray[Any]:
        """Return the golden model's outputs as float values, which every target computes bit for bit.

        Shape: x (example, *input shape) in the units and the shape of the model's file, rounded to the input's format
        and limited to its range; result (example, *output shape), as the file has it. Several inputs are a list of
        arrays in their order, a mapping by their names, or flat and joined; several outputs are flat and joined.
        Raises: UsageError for another shape or name, and for what is no finite number.
        """
        import numpy as np

        from edgephys.graph import evaluate
        from edgephys.models import units

        shape = units.input_shape(self.graph)
        wanted = f"x: expected finite numbers of shape (example, {', '.join(map(str, shape))}), found"
        try:
            values = np.asarray(units.joined(self.graph, x), np.float64)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{wanted} others ({error})") from error
        if values.ndim != len(shape) + 1 or values.shape[1:] != shape or not len(values):
            raise UsageError(f"{wanted} {values.shape}")
        if not np.all(np.isfinite(values)):
            raise UsageError(f"{wanted} NaN or infinity")
        return units.values_of(self.graph, evaluate.run(self.graph, units.steps_of(self.graph, values)))

    def emit(
        self,
        to: str,
        out: str | Path | None = None,
        *,
        vectors: int | None = None,
        raw_inputs: bool = False,
        force: bool = False,
        **options: Any,
    ) -> OpenedProject:
        """Emit the model to a target: hls, rtl, c, onnx or qonnx.

        ``options`` are those of `edgephys emit` with underscores, such as clock_ns=4 or io="stream"; ``out`` is
        hls_projects/<model>_<target> by default; ``vectors`` limits the held-out vectors in the project. With
        ``raw_inputs`` the project takes raw features, in steps of the grids on the model's card, and standardises them.
        Raises: ModelError naming the layer that the target refuses; UsageError for an option that it does not have.
        """
        from edgephys.models.raw_inputs import with_raw_inputs
        from edgephys.project import emit
        from edgephys.targets.registry import options_of

        name = f"{self.name}_{to}{'_raw' * raw_inputs}"
        folder = Path(out) if out is not None else Path("hls_projects") / name
        model = with_raw_inputs(self.model) if raw_inputs else self.model
        return OpenedProject(emit(model, options_of(to, options), folder, force, vectors))


@dataclass(frozen=True, eq=False)
class OpenedProject:
    """Hold an emitted project, to be verified, measured and reported."""

    project: Project

    def __repr__(self) -> str:
        """Return a line: target, model and folder."""
        return f"OpenedProject({self.project.kind} of {self.project.manifest.model}, in {self.folder})"

    @property
    def folder(self) -> Path:
        """Folder of the project."""
        return self.project.folder

    @property
    def graph(self) -> Graph:
        """Graph that the project computes."""
        return self.project.graph

    def verify(self, data: str | Path | None = None, *, netlist: bool = False, say: Say | None = None) -> Verified:
        """Compare the project with its model, bit for bit, on held-out and generated vectors.

        ``data`` is a file of other data in place of the held-out vectors. ``netlist`` simulates and proves the netlists
        of RTL, too. ``say`` is called with each step.
        Raises: MismatchError naming the first layer that differs; ToolError without a simulator.
        """
        from edgephys.verify.run import verify
        from edgephys.verify.user_vectors import raw_vectors

        vectors = None if data is None else raw_vectors(self.project, Path(data))
        verified = verify(self.project, vectors, say, None if data is None else Path(data).name, netlist)
        verified.require()
        return verified

    def report(
        self,
        *,
        synth: bool = True,
        place: bool = False,
        flat: bool = False,
        timeout_s: float = 3000.0,
        say: Say | None = None,
    ) -> dict[str, Figure]:
        """Return every figure of the project by its name, each with stage, tool, version and target.

        ``synth`` runs Yosys on RTL, ``place`` nextpnr, ``flat`` Yosys on the whole design at once. A figure that was
        not measured has no value and says why.
        """
        from edgephys.figures import report
        from edgephys.targets.target import ToolRuns

        runs = ToolRuns(synth=synth, place=place, flat=flat, timeout_s=timeout_s)
        reported = report(self.project, runs, say or (lambda _: None))
        return {figure.name: figure for figure in reported.figures}


def _file_of(source: Any, stack: ExitStack) -> Path:
    """Return the file or folder of a model; a Keras model is saved for the time of the import."""
    if isinstance(source, str | Path):
        return Path(source)
    if not hasattr(source, "save"):
        raise UsageError(f"expected a file, a folder or a Keras model, found {type(source).__name__}")
    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgephys-"))) / f"{source.name}.keras"
    source.save(path)
    return path


def _data_file(data: str | Path | Mapping[str, ArrayLike] | None, stack: ExitStack) -> Path | None:
    """Return the file of the data; arrays are written for the time of the import."""
    if data is None or isinstance(data, str | Path):
        return None if data is None else Path(data)
    import numpy as np

    path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgephys-"))) / "data.npz"
    np.savez(path, **{name: np.asarray(array) for name, array in data.items()})  # type: ignore[arg-type]
    return path
