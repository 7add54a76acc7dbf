"""Run the blocks of a page of docs/ in their order, and print the minutes of each of its sections.

python docs/time_page.py first_ten_jobs, in the folder of the repository, with .venv/bin on the search path.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(language: str, text: str) -> None:
    """Run a block by itself.  Raises: CalledProcessError."""
    words = ["bash", "-e", "-c", text] if language == "sh" else [sys.executable, "-c", text]
    subprocess.run(words, check=True)


def main(page: str) -> None:
    """Print a line a section, and the load of the machine."""
    _, *parts = SECTION.split((Path(__file__).parent / f"{page}.md").read_text())
    minutes = []
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        began = time.monotonic()
        for language, block in BLOCK.findall(text):
            run(language, block)
        minutes.append((title, (time.monotonic() - began) / 60))
    for title, spent in minutes:
        print(f"{title}: {spent:.1f} min")
    print(
        f"{sum(spent for _, spent in minutes):.1f} min in all; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main(sys.argv[1])
