"""Write docs/compression.svg: what each compression stage alone does to LUTs and accuracy, over seeds.

python docs/draw_compression.py            write the picture
python docs/draw_compression.py --check    exit with 1 where it is another one

The runs are those of `make alone`, kept in hls_projects/results/runs: Deep Sets of 8 constituents and 8 bits. LUTs are
alkaid's estimate for all of them, the accuracy is that on the test jets.
"""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).parent.parent
RUNS = TOP / "hls_projects" / "results" / "runs"
FIGURE = TOP / "docs" / "compression.svg"


class Run(NamedTuple):
    """State one run of a stage alone: its pipeline, the estimated LUTs before and after, the accuracy in %."""

    stage: str
    start: int
    lut: int
    accuracy: float


def runs() -> Iterator[Run]:
    """Yield every kept run of a stage alone."""
    for path in sorted(RUNS.glob("alone_*/compression.json")):
        record = json.loads(path.read_text())
        first, *_, last = record["rows"]
        name = record["pipeline"].removesuffix("_alone").replace("_", " ")
        yield Run(name, first["lut_estimate"], last["lut_estimate"], 100 * record["metrics"]["accuracy"])


def means(all_runs: list[Run]) -> list[Run]:
    """Return the mean of each stage over its seeds, the fewest LUTs first."""
    stages: dict[str, list[Run]] = {}
    for run in all_runs:
        stages.setdefault(run.stage, []).append(run)
    mean = [
        Run(name, of[0].start, round(sum(run.lut for run in of) / len(of)), sum(run.accuracy for run in of) / len(of))
        for name, of in stages.items()
    ]
    return sorted(mean, key=lambda run: run.lut)


def picture() -> bytes:
    """Return the picture as SVG: a row a stage, LUTs on the left and accuracy on the right."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "edgephys", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib import pyplot

    every = list(runs())
    stages = means(every)
    row = {run.stage: -number for number, run in enumerate(stages)}
    figure, (left, right) = pyplot.subplots(1, 2, sharey=True, figsize=(9, 0.3 * len(stages) + 1))
    for axes, values in ((left, [run.lut / 1000 for run in every]), (right, [run.accuracy for run in every])):
        axes.plot(values, [row[run.stage] for run in every], "o", color="#1f4e79", markersize=4, alpha=0.6)
        axes.grid(axis="both", color="#dde3ea", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    left.axvline(stages[0].start / 1000, color="#b03a2e", linestyle="--", linewidth=1)
    left.annotate("start", (stages[0].start / 1000, 0.6), color="#b03a2e", fontsize=8, ha="center", va="bottom")
    left.set_yticks(list(row.values()), list(row), fontsize=9)
    left.set_xlabel("1,000 LUT (estimated by alkaid)")
    left.set_xlim(left=0)
    right.set_xlabel("accuracy on the test jets in %")
    figure.tight_layout()
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "docs/draw_compression.py"})
    return out.getvalue()


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        FIGURE.write_bytes(picture())
    elif FIGURE.read_bytes() != picture():
        sys.exit(f"{FIGURE} is not what the kept runs give: run python docs/draw_compression.py")
