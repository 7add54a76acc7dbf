"""``python -m edgephys.cli``: the same as ``edgephys``, printing as it goes."""

import os

from edgephys.cli import main

os.environ.setdefault("PYTHONUNBUFFERED", "1")
if __name__ == "__main__":
    main()
