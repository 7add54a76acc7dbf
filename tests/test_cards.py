"""Model cards: read and written without a change, and shown for every application."""

import json
from pathlib import Path

import pytest

from edgephys.core.files import json_text
from edgephys.models.card import CARD, Card
from edgephys.models.import_plan import ImportPlan

MODELS = Path(__file__).parent.parent / "models"


@pytest.mark.parametrize("path", sorted(MODELS.glob(f"*/*/{CARD}")), ids=lambda path: path.parent.name)
def test_a_card_that_is_written_anew_has_the_same_bytes(path):
    text = path.read_text()
    assert json_text(Card.of_record(json.loads(text)).to_record()) == text


def test_a_key_that_we_do_not_write_stays_in_the_card():
    record = json.loads((MODELS / "zoo" / "jet_mlp_n8_4bit" / CARD).read_text()) | {"comment": "best of three"}
    assert Card.of_record(record).to_record() == record


def test_an_imported_models_card_keeps_its_order(tmp_path):
    import onnx_models

    from edgephys.models import imported

    imported.import_onnx(onnx_models.mlp(tmp_path / "mlp.onnx"), tmp_path / "mlp", ImportPlan(count=5))
    text = (tmp_path / "mlp" / CARD).read_text()
    assert json_text(Card.of_record(json.loads(text)).to_record()) == text
    assert list(json.loads(text)) == [
        *("name", "seed", "classes", "parameters", "metrics", "recipe", "standardisation", "versions", "files"),
        "imported",
    ]


def test_a_card_without_a_key_says_which():
    with pytest.raises(ValueError, match="it lacks metrics, versions"):
        Card.of_record(dict.fromkeys(("name", "seed", "classes", "parameters", "recipe", "standardisation")))
