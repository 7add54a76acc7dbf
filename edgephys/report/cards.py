"""Model cards in one table: accuracy and AUC of each model, over the seeds that were trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from edgephys.applications.jets.published import CAVEAT, published
from edgephys.core import machine
from edgephys.core.errors import ModelError
from edgephys.core.files import write_file, write_json
from edgephys.models.card import read_card
from edgephys.report.show import titled


def tabulate(folders: Sequence[Path], command: str) -> dict[str, Any]:
    """Return {"command", "machine", "rows"}: a row a model, its accuracies over seeds, mean and spread.

    Raises: ModelError for a folder without a card, or two cards of one model and seed.
    """
    cards: dict[str, dict[int, Mapping[str, Any]]] = {}
    for folder in folders:
        card = read_card(folder)
        seeds = cards.setdefault(card["name"], {})
        if card["seed"] in seeds:
            raise ModelError(f"{folder}: {card['name']} with seed {card['seed']} is there twice; name each once")
        seeds[card["seed"]] = card
    rows = [_row(name, [seeds[seed] for seed in sorted(seeds)]) for name, seeds in cards.items()]
    rows.sort(key=lambda row: (row["constituents"], row["model"]))
    return {"command": command, "machine": machine.name(), "rows": rows}


def _row(name: str, cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    accuracies = [card["metrics"]["accuracy"] for card in cards]
    areas = {
        label: float(np.mean([card["metrics"]["auc"][label] for card in cards])) for label in cards[0]["metrics"]["auc"]
    }
    return {
        "model": name,
        "constituents": cards[0]["recipe"]["net"]["constituents"],
        "seeds": [card["seed"] for card in cards],
        "accuracies": accuracies,
        "accuracy": float(np.mean(accuracies)),
        "accuracy_spread": float(np.std(accuracies, ddof=1)) if len(cards) > 1 else None,
        "accuracy_error": float(np.mean([card["metrics"]["accuracy_error"] for card in cards])),
        "auc": areas,
        "parameters": cards[0]["parameters"],
        "test_jets": cards[0]["metrics"]["jets"],
        "published": published(cards[0]["recipe"]),
    }


HEADINGS = ("model", "seeds", "accuracy %", "spread over seeds", "AUC g q W Z t %", "parameters", "test jets")


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row as text, in the order of HEADINGS."""
    spread = row["accuracy_spread"]
    return [
        str(row["model"]),
        " ".join(map(str, row["seeds"])),
        f"{100 * row['accuracy']:.2f} ± {100 * row['accuracy_error']:.2f}",
        "–" if spread is None else f"{100 * spread:.2f}",
        " ".join(f"{100 * area:.1f}" for area in row["auc"].values()),
        f"{row['parameters']:,}",
        f"{row['test_jets']:,}",
    ]


def shown(table: Mapping[str, Any]) -> Group:
    """Return the table for a terminal."""
    view = Table(*HEADINGS)
    for row in table["rows"]:
        view.add_row(*cells(row))
    return titled("accuracy and AUC on held-out test jets", view)


def write(table: Mapping[str, Any], out: Path) -> None:
    """Write OUT.json and OUT.md, each whole or not at all."""
    lines = [f"Made by `{table['command']}` on {table['machine']}.", "", "| " + " | ".join(HEADINGS) + " |"]
    lines.append("|" + "|".join([" --- ", *[" ---: "] * (len(HEADINGS) - 1)]) + "|")
    for row in table["rows"]:
        lines.append("| " + " | ".join(cells(row)) + " |")
        facts = row["published"]
        if facts is not None:
            auc = "–" if facts["auc"] is None else " ".join(f"{100 * area:.1f}" for area in facts["auc"].values())
            accuracy = f"{100 * facts['accuracy']:.1f}"
            lines.append(f"| *published, other jets* | – | {accuracy} | – | {auc} | – | – |")
    lines += ["", "Error: binomial. Spread: standard deviation over seeds. " + CAVEAT]
    write_json(out.with_name(f"{out.name}.json"), table)
    write_file(out.with_name(f"{out.name}.md"), ("\n".join(lines) + "\n").encode())
