"""A table emits a project again where its options are other ones, not where an option did not exist at its emission."""

import json

import pytest

from edgephys.core.files import json_text
from edgephys.models.frameworks import load
from edgephys.project import MANIFEST, read, write_result
from edgephys.targets.c.options import COptions
from edgephys.workflow import steps


@pytest.mark.parametrize(("change", "again"), [({}, False), ({"rollout": 1}, True), ({"style": "loops"}, True)])
def test_an_option_that_a_manifest_lacks_had_its_default(change, again, model, tmp_path):
    source, messages = load(model), []
    project, _ = steps.emitted(source, COptions(prefix="small"), tmp_path / "small", False, messages.append)
    path = project.folder / MANIFEST
    manifest = json.loads(path.read_text())
    options = {name: value for name, value in manifest["options"].items() if name != "rollout"}
    path.write_text(json_text({**manifest, "options": {**options, **change}}))
    write_result(read(project.folder), "emit", {"seconds": 1.0}, read(project.folder).state())
    messages.clear()
    steps.emitted(source, COptions(prefix="small"), project.folder, True, messages.append)
    assert any("emit to" in message for message in messages) == again
