"""Commands that put many models or projects into one table, and the one that looks at the tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgephys.cli.console import give, say
from edgephys.cli.words import Force, Json, TableOut, line
from edgephys.core.errors import UsageError


def compare(
    projects: Annotated[list[Path], typer.Argument(metavar="PROJECT...", help="Reported projects, one row a model.")],
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Put the reports of several projects into one table, one row a model.

    \b
    Example: edgephys compare hls_projects/jet_deepsets_n8_8bit_hls hls_projects/jet_deepsets_n8_8bit_rtl
    """
    from edgephys.report.compare import table, tabulate
    from edgephys.report.render import writer

    record = tabulate(projects, line())
    writer(out, table)(record)
    give(as_json, record, lambda: table(record))


def scaling(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained models, float too.")],
    clock_ns: Annotated[float, typer.Option(help="Clock period in ns.")] = 5.0,
    part: Annotated[str, typer.Option(help="FPGA part.")] = "xcvu13p-flga2577-2-e",
    to: Annotated[str, typer.Option(help="Targets of each model: hls, rtl or both.")] = "hls,rtl",
    synth_seconds: Annotated[float, typer.Option(help="Seconds for each run of Yosys, which is one module.")] = 1800.0,
    memory_gb: Annotated[float, typer.Option(help="Gigabytes for all runs of Yosys at a time, together.")] = 8.0,
    projects: Annotated[Path, typer.Option(help="Folder of the projects.")] = Path("hls_projects"),
    out: TableOut = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Emit, verify and report every model, one row each; a stopped command continues when it is started again.

    \b
    Example: edgephys scaling models/zoo/* --synth-seconds 1800 --memory-gb 8
    """
    from edgephys.report.render import writer
    from edgephys.report.scaling import require, require_taggers, table, tabulate
    from edgephys.workflow.firmware import FirmwarePlan

    targets = tuple(word for word in to.split(",") if word)
    plan = FirmwarePlan(clock_ns, part, targets, synth_seconds, memory_gb, projects, force)
    command = line()
    require_taggers(models)
    record = tabulate(models, plan, command, say, writer(out, table))
    give(as_json, record, lambda: table(record))
    require(record)


def agree(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of quantised models.")],
    to: Annotated[str, typer.Option(help="Targets of each model, with commas between them.")] = "c,onnx,qonnx",
    projects: Annotated[Path, typer.Option(help="Folder of the projects.")] = Path("hls_projects"),
    out: TableOut = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Emit every model to every target and count the integers that differ; a stopped command continues.

    \b
    Example: edgephys agree models/zoo/*bit --to c,onnx,qonnx
    """
    from edgephys.report.agreement import AgreementPlan, require, table, tabulate
    from edgephys.report.render import writer

    plan = AgreementPlan(tuple(word for word in to.split(",") if word), projects, force)
    record = tabulate(models, plan, line(), say, writer(out, table))
    give(as_json, record, lambda: table(record))
    require(record)


def waves(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained wave networks.")],
    data: Annotated[Path, typer.Option(help="File of waves that no network has seen.")],
    out: TableOut = None,
    steps: Annotated[int, typer.Option(help="Frames that are rolled out.")] = 50,
    starts: Annotated[str, typer.Option(help="First frames that are predicted, such as 2,13.")] = "2,13",
    run: Annotated[int, typer.Option(help="The run that the pictures show, of the best network named here.")] = 0,
    beside: Annotated[Path | None, typer.Option(help="An earlier table of the same data: keep its rows.")] = None,
    as_json: Json = False,
) -> None:
    """Put wave networks into one table: their size and how their errors grow when they are rolled out.

    \b
    Example: edgephys waves models/waves/* --data data/waves.h5 --beside hls_projects/results/waves.json
    """
    from edgephys.applications.waves.study.roll_out import Horizon
    from edgephys.applications.waves.study.table import shown_run, tabulate
    from edgephys.applications.waves.study.table_page import table
    from edgephys.report.render import write

    try:
        horizon = Horizon(steps, tuple(int(word) for word in starts.split(",")))
    except ValueError:
        raise UsageError(
            f"--starts must be whole numbers with commas between them, such as 2,13, not {starts}"
        ) from None
    record = tabulate(models, data, horizon, line(), say, beside)
    if out is not None:
        write(table(record, shown_run(models, data, horizon, run)), out)
    give(as_json, record, lambda: table(record))


def pace(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of wave networks, a seed of each.")],
    data: Annotated[Path, typer.Option(help="File of waves that no network has seen.")],
    project: Annotated[list[Path] | None, typer.Option(help="A verified project of one of them; give several.")] = None,
    out: TableOut = None,
    runs: Annotated[int, typer.Option(help="Runs on which errors are measured.")] = 12,
    steps: Annotated[int, typer.Option(help="Frames that are rolled out, from the third on.")] = 50,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which all are timed in turns.")] = 9,
    as_json: Json = False,
) -> None:
    """Measure the time of a frame on one core, for the solver, networks and firmware, beside the error of each.

    \b
    Example: edgephys pace models/waves/* --data data/waves.h5 --project hls_projects/wave_cnn_n32_cp12_8bit_rtl
    """
    from edgephys.core.machine import one_core

    command = line()
    with one_core():  # before anything is loaded that starts threads
        from edgephys.applications.waves.study.pace_page import table
        from edgephys.applications.waves.study.pace_table import tabulate
        from edgephys.applications.waves.study.roll_out import Horizon
        from edgephys.report.render import writer

        record = tabulate(models, project or [], data, Horizon(steps, (2,)), runs, rounds, command, say)
    writer(out, table)(record)
    give(as_json, record, lambda: table(record))


def dispersion(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained wave networks.")],
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Measure the phase velocity of each wavelength and the shape of a pulse, for the solver and wave networks.

    \b
    Example: edgephys dispersion models/waves/full_8bit models/waves/cp12_8bit
    """
    from edgephys.applications.waves.study.dispersion_table import table, tabulate
    from edgephys.report.render import writer

    record = tabulate(models, line(), say)
    writer(out, table)(record)
    give(as_json, record, lambda: table(record))


def doctor(as_json: Json = False) -> None:
    """Say which outside tools are here, which are missing, and what to install.

    \b
    Example: edgephys doctor
    """
    from edgephys.core.processes import installed_tools
    from edgephys.report.show import doctor_table

    tools = installed_tools()
    give(as_json, {"tools": tools}, lambda: doctor_table(tools))
    if any(tool["needed"] and not tool["version"] for tool in tools):
        raise typer.Exit(1)
