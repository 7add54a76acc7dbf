"""Write docs/accuracy.svg: accuracy against LUTs of compressed, uniform and rival taggers on the same jets.

python docs/draw_accuracy.py            write the picture
python docs/draw_accuracy.py --check    exit with 1 where it is another one

The points are those of front.json (compressed and uniform) and rival.json (HGQ2) in hls_projects/results: Deep Sets of
8 constituents, accuracy on the 45,000 test jets, LUTs synthesised by Yosys.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

TOP = Path(__file__).parent.parent
RESULTS = TOP / "hls_projects" / "results"
FIGURE = TOP / "docs" / "accuracy.svg"
WORDS = {
    "ours": ("edgephys, compressed", "#204a87", "o", "-"),
    "uniform": ("uniform bits (8, 6, 4)", "#c17d11", "s", ":"),
    "rival": ("HGQ2, one run of 216 and one of 60 epochs", "#4e9a06", "D", ""),
}
"""Name, colour, marker and line of each group."""


def points() -> dict[str, list[tuple[float, float, float]]]:
    """Return (LUT, accuracy in %, its error) of each group, by rising LUTs."""
    front = json.loads((RESULTS / "front.json").read_text())
    rival = json.loads((RESULTS / "rival.json").read_text())
    ours = [(run["lut"], run["test"]) for run in front["runs"] if run["front"]]
    uniform = [(row["lut"], row) for row in front["beside"]]
    rivals = [(row["lut"], row) for row in rival["rows"] if row["model"] == front["model"]]
    groups = {"ours": ours, "uniform": uniform, "rival": rivals}
    return {name: sorted(_point(*entry) for entry in of) for name, of in groups.items()}


def _point(lut: float, score: dict[str, Any]) -> tuple[float, float, float]:
    return lut, 100 * score["accuracy"], 100 * score["accuracy_error"]


def picture() -> bytes:
    """Return the picture as SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "edgephys", "svg.fonttype": "path", "font.family": "sans-serif"})
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter, NullLocator

    figure, axes = pyplot.subplots(figsize=(7.2, 3.6))
    for name, of in points().items():
        label, colour, marker, line = WORDS[name]
        lut, accuracy, error = zip(*of, strict=True)
        axes.errorbar(
            lut, accuracy, error, color=colour, marker=marker, linestyle=line or "none", label=label, capsize=2
        )
    axes.set_xscale("log")
    axes.set_xticks([15_000, 30_000, 60_000, 120_000, 240_000])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda lut, _: f"{lut / 1000:.0f}k"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("LUT (synthesised by Yosys, UltraScale+)")
    axes.set_ylabel("accuracy on test jets (%)")
    axes.grid(color="#dde3ea", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.legend(loc="lower center", ncols=3, fontsize=8.5, frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": "docs/draw_accuracy.py"})
    return out.getvalue()


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        FIGURE.write_bytes(picture())
    elif FIGURE.read_bytes() != picture():
        sys.exit(f"{FIGURE} is not what the kept tables give: run python docs/draw_accuracy.py")
