"""Commands that put many models or projects into one table, and the one that looks at the tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgephys.cli.console import give, say
from edgephys.cli.words import MOST_SECONDS, Force, Json, TableOut, line
from edgephys.core.errors import UsageError


def compare(
    projects: Annotated[list[Path], typer.Argument(metavar="PROJECT...", help="Reported projects, one row a model.")],
    out: TableOut = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a web page with a column a project, in place of the table.")
    ] = None,
    tables: Annotated[
        Path | None, typer.Option(help="With --html: folder for its tables, as CSV and LaTeX, and its pictures.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Put the reports of several projects into one table, one row a model; with --html side by side on a page.

    The page takes any number of projects, also several of one model and target.

    \b
    Example: edgephys compare hls_projects/jet_deepsets_n8_8bit_hls hls_projects/jet_deepsets_n8_8bit_rtl
    Example: edgephys compare hls_projects/jet_deepsets_n8_8bit_hls hls_projects/jet_deepsets_n8_8bit_rtl --html a.html
    """
    from edgephys.report.compare import table, tabulate
    from edgephys.report.render import writer

    if html is not None:
        if out is not None:
            raise UsageError("--html goes without --out, which writes the other table; run the command twice")
        _compare_on_page(projects, html, tables, as_json)
        return
    if tables is not None:
        raise UsageError("--tables goes with --html; leave it out, or name a page")
    record = tabulate(projects, line())
    writer(out, table)(record)
    give(as_json, record, lambda: table(record))


def _compare_on_page(projects: list[Path], html: Path, tables: Path | None, as_json: bool) -> None:
    from edgephys.core import machine
    from edgephys.report import web
    from edgephys.report.side_by_side import comparison_page, read_reports

    web.check_page(html)
    if tables is not None:
        web.check_tables(tables)
    page = comparison_page(read_reports(projects), line(), machine.name())
    web.write_to(page, html, tables)
    give(
        as_json, {"page": str(html), "projects": [str(folder) for folder in projects]}, lambda: f"{html}: {page.title}"
    )


def scaling(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of models, float too.")],
    clock_ns: Annotated[float, typer.Option(max=1000, help="Clock period in ns.")] = 5.0,
    part: Annotated[str, typer.Option(help="FPGA part.")] = "xcvu13p-flga2577-2-e",
    to: Annotated[str, typer.Option(help="Targets of each model: hls, rtl or both.")] = "hls,rtl",
    synth_seconds: Annotated[
        float, typer.Option(max=MOST_SECONDS, help="Seconds for each run of Yosys, which is one module.")
    ] = 1800.0,
    memory_gb: Annotated[
        float, typer.Option(max=1e6, help="Gigabytes for all runs of Yosys at a time, together.")
    ] = 8.0,
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
    from edgephys.report.scaling import require, table, tabulate
    from edgephys.workflow.firmware import FirmwarePlan

    targets = tuple(word for word in to.split(",") if word)
    plan = FirmwarePlan(clock_ns, part, targets, synth_seconds, memory_gb, projects, force)
    command = line()
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


def coverage(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Folders of quantised models.")],
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Tabulate which bits, ties and overflows held-out and generated vectors reach in each model.

    \b
    Example: edgephys coverage models/zoo/jet_deepsets_n8_8bit models/waves/cp12_8bit
    """
    from edgephys.report.coverage import table, tabulate
    from edgephys.report.render import writer

    record = tabulate(models, line(), say, writer(out, table))
    give(as_json, record, lambda: table(record))


def netlists(
    projects: Annotated[list[Path], typer.Argument(metavar="PROJECT...", help="RTL projects, verified --netlist.")],
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Put the verified netlists of RTL projects into one table: mismatches in simulation, and what is proven.

    \b
    Example: edgephys netlists hls_projects/jet_deepsets_n8_8bit_rtl
    """
    from edgephys.report.netlists import table, tabulate
    from edgephys.report.render import writer

    record = tabulate(projects, line())
    writer(out, table)(record)
    give(as_json, record, lambda: table(record))


def intervals(
    projects: Annotated[list[Path], typer.Argument(metavar="PROJECT...", help="Reported RTL projects, a row each.")],
    beside: Annotated[
        Path | None, typer.Option(help="JSON of a table of scaling, with rows of the same models at II 1.")
    ] = None,
    out: TableOut = None,
    as_json: Json = False,
) -> None:
    """Put RTL projects of several initiation intervals into one table: LUTs, latency and throughput.

    \b
    Example: edgephys intervals hls_projects/jet_deepsets_n8_8bit_rtl --beside hls_projects/results/scaling.json
    """
    from edgephys.core.errors import ProjectError
    from edgephys.core.reading import fitting
    from edgephys.report.intervals import table, tabulate
    from edgephys.report.render import writer

    write = writer(out, table)
    with fitting(", ".join(map(str, (*projects, *filter(None, (beside,))))), "reports of projects", ProjectError):
        record = tabulate(projects, beside, line())
        write(record)
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
