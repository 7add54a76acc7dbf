"""Commands that put many projects into one table, and the one that looks at the tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgephys.cli.console import give, say
from edgephys.cli.words import Force, Json, line
from edgephys.core.errors import UsageError


def street(
    projects: Annotated[list[Path], typer.Argument(metavar="PROJECT...", help="Reported projects, one row a model.")],
    out: Annotated[Path, typer.Option(help="Write OUT.json, OUT.md and OUT.png.")] = Path(
        "hls_projects/results/street"
    ),
    as_json: Json = False,
) -> None:
    """Put the reports of several projects into one table, one row a model.

    \b
    Example: edgephys street hls_projects/jet_deepsets_n8_8bit_hls hls_projects/jet_deepsets_n8_8bit_rtl
    """
    from edgephys.report import street as house

    table = house.tabulate([*projects], line())
    house.write(table, out)
    give(as_json, table, lambda: house.shown(table))


def scaling(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained models, float too.")],
    clock_ns: Annotated[float, typer.Option(help="Clock period in ns.")] = 5.0,
    part: Annotated[str, typer.Option(help="FPGA part.")] = "xcvu13p-flga2577-2-e",
    to: Annotated[str, typer.Option(help="Targets of each model: hls, rtl or both.")] = "hls,rtl",
    synth_seconds: Annotated[float, typer.Option(help="Seconds for each run of Yosys, which is one module.")] = 1800.0,
    memory_gb: Annotated[float, typer.Option(help="Gigabytes for all runs of Yosys at a time, together.")] = 8.0,
    projects: Annotated[Path, typer.Option(help="Folder of the projects.")] = Path("hls_projects"),
    out: Annotated[Path, typer.Option(help="Write OUT.json, OUT.md and OUT.png after every row.")] = Path(
        "hls_projects/results/scaling"
    ),
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Emit, verify and report every model, one row each; a second start goes on where the first one ended.

    \b
    Example: edgephys scaling models/zoo/* --synth-seconds 1800 --memory-gb 8
    """
    from edgephys.report import scaling as house
    from edgephys.report import scaling_page as pages
    from edgephys.workflow.firmware import FirmwarePlan

    targets = tuple(word for word in to.split(",") if word)
    plan = FirmwarePlan(clock_ns, part, targets, synth_seconds, memory_gb, projects, force)
    command = line()
    house.require_taggers(models)
    table = house.tabulate(models, plan, command, say, lambda table: pages.write(table, out))
    give(as_json, table, lambda: pages.shown(table))
    house.require(table)


def agree(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of quantised models.")],
    to: Annotated[str, typer.Option(help="Targets of each model, with commas between them.")] = "c,onnx,qonnx",
    projects: Annotated[Path, typer.Option(help="Folder of the projects.")] = Path("hls_projects"),
    out: Annotated[Path, typer.Option(help="Write OUT.json and OUT.md after every row.")] = Path(
        "hls_projects/results/agreement"
    ),
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Send every model to every target and count the integers that differ; a second start goes on.

    \b
    Example: edgephys agree models/zoo/*bit --to c,onnx,qonnx
    """
    from edgephys.report import agreement as house

    plan = house.AgreementPlan(tuple(word for word in to.split(",") if word), projects, force)
    table = house.tabulate(models, plan, line(), say, lambda table: house.write(table, out))
    give(as_json, table, lambda: house.shown(table))
    house.require(table)


def waves(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained wave networks.")],
    data: Annotated[Path, typer.Option(help="File of waves that no network has seen.")],
    out: Annotated[Path, typer.Option(help="Write OUT.json, .md and .png, OUT_fields.png and OUT.gif.")] = Path(
        "hls_projects/results/waves"
    ),
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
    from edgephys.applications.waves.study import table as house
    from edgephys.applications.waves.study import table_page as pages
    from edgephys.applications.waves.study.roll_out import Horizon

    try:
        horizon = Horizon(steps, tuple(int(word) for word in starts.split(",")))
    except ValueError:
        raise UsageError(
            f"--starts must be whole numbers with commas between them, such as 2,13, not {starts}"
        ) from None
    table = house.tabulate(models, data, horizon, line(), say, beside)
    pages.write(table, out)
    pages.write_pictures(house.shown_run(models, data, horizon, run), out)
    give(as_json, table, lambda: pages.shown(table))


def pace(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of wave networks, a seed of each.")],
    data: Annotated[Path, typer.Option(help="File of waves that no network has seen.")],
    project: Annotated[list[Path] | None, typer.Option(help="A verified project of one of them; give several.")] = None,
    out: Annotated[Path, typer.Option(help="Write OUT.json and OUT.md.")] = Path("hls_projects/results/waves_speed"),
    runs: Annotated[int, typer.Option(help="Runs on which errors are measured.")] = 12,
    steps: Annotated[int, typer.Option(help="Frames that are rolled out, from the third on.")] = 50,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which all are timed in turns.")] = 9,
    as_json: Json = False,
) -> None:
    """Time a frame on one core, solver and networks in turns, and of their firmware; beside each time its error.

    \b
    Example: edgephys pace models/waves/* --data data/waves.h5 --project hls_projects/wave_cnn_n32_cp12_8bit_rtl
    """
    from edgephys.core.machine import one_core

    command = line()
    with one_core():  # before anything is loaded that starts threads
        from edgephys.applications.waves.study import pace_page as pages
        from edgephys.applications.waves.study import pace_table as house
        from edgephys.applications.waves.study.roll_out import Horizon

        table = house.tabulate(models, project or [], data, Horizon(steps, (2,)), runs, rounds, command, say)
    pages.write(table, out)
    give(as_json, table, lambda: pages.shown(table))


def dispersion(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of trained wave networks.")],
    out: Annotated[Path, typer.Option(help="Write OUT.json, OUT.md and OUT.png.")] = Path(
        "hls_projects/results/waves_dispersion"
    ),
    as_json: Json = False,
) -> None:
    """Show how fast the solver and wave networks carry each wavelength, and what becomes of a pulse.

    \b
    Example: edgephys dispersion models/waves/full_8bit models/waves/cp12_8bit
    """
    from edgephys.applications.waves.study import dispersion_table as house

    table = house.tabulate(models, line(), say)
    house.write(table, out)
    give(as_json, table, lambda: house.shown(table))


def doctor(as_json: Json = False) -> None:
    """Say which outside tools are here, which are missing, and what to install.

    \b
    Example: edgephys doctor
    """
    from edgephys.core.processes import installed_tools
    from edgephys.report.show import doctor_table

    found = installed_tools()
    give(as_json, {"tools": found}, lambda: doctor_table(found))
    missing = [tool["name"] for tool in found if tool["needed"] and not tool["version"]]
    if missing:
        raise typer.Exit(1)
