"""Change a received project or model as its sender could."""

import json

from edgephys.project import MANIFEST, read


def edited(path, change):
    """Let ``change`` change a record in JSON."""
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def renewed(folder):
    """Write the hashes of all files into the manifest, as somebody does who wants a change to pass."""
    project = read(folder)
    edited(folder / MANIFEST, lambda record: record.update(files={n: project._digest(n) for n in record["files"]}))
