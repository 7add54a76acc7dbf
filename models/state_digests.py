"""Write the digests of a model's files into its card, where it states none: python models/state_digests.py FOLDER...

The models of releases before digests need it once. Run it on models whose files you trust: it believes what is there.
"""

import sys
from dataclasses import replace
from pathlib import Path

from edgephys.core.files import json_text, write_file
from edgephys.models.card import CARD, digests_of, read_card


def state_digests(folder: Path) -> bool:
    """Add the digests to the card in a folder, whose other bytes stay; tell whether it had none."""
    card = read_card(folder)
    if card.files:
        return False
    stated = replace(card, files=digests_of(folder)).to_record()
    write_file(folder / CARD, json_text(stated).encode())
    return True


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(f"{name}: {'digests added' if state_digests(Path(name)) else 'states its digests already'}")
