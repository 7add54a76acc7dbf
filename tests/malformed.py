"""Malformed files: every way in which a file of each kind is spoiled, from a random generator."""

import copy
import io
import json
import os
import pickle
import random
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import onnx

NUMBERS = (0, -1, 1, 2**31, 2**32, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, 0.5, -0.0, 1e-300, 1e308)
WORDS = (
    "",
    " ",
    "x",
    "nan",
    "../../../x",
    'a"b',
    "a'b",
    "a\nb",
    "a\x1b[31mb",
    "$(x)",
    "\u202e",
    "x" * 5000,
    "0x10",
    "1e3",
)
ANYTHING = (*NUMBERS, *WORDS, None, True, [], {}, [[]], [None], {"a": {}}, [1, "a", None])
DEEP = 200_000


# Any file ----------------------------------------------------------------------------------------


def cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content) + 1)])


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        if content:
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def overwrite(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = draw.randrange(len(content) + 1)
    content[start : start + draw.choice((4, 64, 4096))] = draw.choice((b"\0", b"\xff", b"9")) * draw.choice((4, 64))
    path.write_bytes(content)


def other_content(path: Path, draw: random.Random) -> None:
    npy = io.BytesIO()
    np.save(npy, np.arange(6))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("x", b"x")
    contents = (
        b"",
        b"\0" * 5000,
        b"{}",
        b"[]",
        b"null",
        b"[[stage]]\n",
        npy.getvalue(),
        zipped.getvalue(),
        os.urandom(0),
    )
    path.write_bytes(draw.choice(contents))


def nested(path: Path, draw: random.Random) -> None:
    left, right = draw.choice((("[", "]"), ('{"a":', "}"), ("(", ")")))
    path.write_text(left * DEEP + "1" * draw.randrange(2) + right * DEEP)


def no_file(path: Path, draw: random.Random) -> None:
    path.unlink()
    kind = draw.choice(("missing", "folder", "pipe", "device", "loop", "dangling"))
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to(draw.choice(("/dev/zero", "/dev/null", "/dev/tty", "/proc/self/mem")))
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling":
        path.symlink_to("nowhere")


# JSON and TOML --------------------------------------------------------------------------------------


def places(record, path=()):
    """Yield the path of every value of a record."""
    yield path
    pairs = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    for key, value in pairs:
        yield from places(value, (*path, key))


def spoiled(record, draw: random.Random):
    """Return a record with a value replaced, removed or repeated."""
    record = copy.deepcopy(record)
    for _ in range(draw.choice((1, 1, 1, 3))):
        path = draw.choice(list(places(record)))
        if not path:
            return draw.choice(ANYTHING) if draw.random() < 0.1 else record
        holder = record
        for key in path[:-1]:
            holder = holder[key]
        if draw.random() < 0.2:
            del holder[path[-1]]
        elif isinstance(holder, list) and draw.random() < 0.2:
            holder.extend([holder[path[-1]]] * draw.choice((1, 1000)))
        else:
            holder[path[-1]] = draw.choice((*ANYTHING, float("nan"), float("inf")))
    return record


def spoil_json(path: Path, draw: random.Random) -> None:
    path.write_text(json.dumps(spoiled(json.loads(path.read_text()), draw)))


def spoil_toml(path: Path, draw: random.Random) -> None:
    literals = (
        "[]",
        "{}",
        "'x'",
        "''",
        "['prune']",
        "nan",
        "inf",
        "-1",
        "0",
        "true",
        "1" * 30,
        "1e308",
        "[[1]]",
        "1979-05-27",
    )
    lines = path.read_text().splitlines()
    at = draw.choice([number for number, line in enumerate(lines) if "=" in line and not line.startswith("#")])
    key, _, _ = lines[at].partition("=")
    lines[at] = draw.choice(
        (f"{key}= {draw.choice(literals)}", f"no_{key}= 1", f"{key}", f"{lines[at]}\n{lines[at]}", "[knob]")
    )
    if draw.random() < 0.1:
        lines[at] = f"{key}= {'[' * 5000}{']' * 5000}"
    path.write_text("\n".join(lines))


# Arrays ---------------------------------------------------------------------------------------------


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header_of(shape: str, kind: str = "'<i8'") -> bytes:
    """Return a .npy file whose header states more than follows."""
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + b"\0" * 64


def spoil_npz(path: Path, draw: random.Random) -> None:
    with np.load(path) as arrays:
        members = {f"{name}.npy": npy(arrays[name]) for name in arrays}
        first = arrays[sorted(arrays)[0]]
    name = draw.choice(sorted(members))
    objects = np.array([None, {}], dtype=object)
    members[name] = draw.choice(
        (
            npy(first.astype(np.float64) + 0.5),
            npy(np.full(first.shape, np.nan)),
            npy(np.full(first.shape, 2**63, np.uint64)),
            npy(np.full(first.shape, -(2**62))),
            npy(objects),
            npy(first[:0]),
            npy(np.int64(3)),
            npy(first[..., None]),
            npy(first.astype("S")),
            npy(first.astype(np.complex128)),
            npy(first.astype(bool)),
            npy(np.asfortranarray(first)),
            header_of("(1000000000000,)"),
            header_of("(-8,)"),
            header_of("(8,)", "'O'"),
            header_of("(8,)", "'<V8'"),
            header_of("(" * 5000),
            header_of("1.5"),
            pickle.dumps({}),
            b"",
        )
    )
    if draw.random() < 0.1:
        members[name] = npy(np.zeros(100_000_000, np.int8))  # 100 kB packed
    if draw.random() < 0.1:
        del members[name]
    packing = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(path, "w", packing) as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def spoil_hdf5(path: Path, draw: random.Random) -> None:
    with h5py.File(path, "a") as file:
        datasets = []
        file.visititems(lambda name, entry: datasets.append(name) if isinstance(entry, h5py.Dataset) else None)
        name = draw.choice(datasets)
        former = file[name][:] if file[name].shape else file[name][()]
        shape, kind = file[name].shape, file[name].dtype
        way = draw.randrange(14)
        if way == 12 and file.attrs:
            key = draw.choice(sorted(file.attrs))
            file.attrs[key] = draw.choice((np.nan, "x", [1, 2], -1, h5py.Empty("f")))
            return
        del file[name]
        if way == 1:
            file[name] = h5py.SoftLink(f"/{name}")
        elif way == 2:
            file[name] = h5py.ExternalLink("/dev/zero", "/x")
        elif way == 3:
            file.create_dataset(name, (10**12, *shape[1:]), kind, chunks=(1, *shape[1:]))
        elif way == 4:
            file.create_group(name)
        elif way == 5:
            file[name] = np.full(shape, np.nan)
        elif way == 6:
            file.create_dataset(name, data=np.full(shape, "x", object), dtype=h5py.string_dtype())
        elif way == 7:
            file[name] = np.zeros((*shape, 1), np.float32)
        elif way == 8:
            file[name] = np.zeros(shape, [("a", "f4"), ("b", "i8")])
        elif way == 9:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[...] = h5py.VirtualSource("/dev/zero", "x", shape=shape)
            file.create_virtual_dataset(name, layout)
        elif way == 10:
            rows = 10**9 // max(1, int(np.prod(shape[1:])))
            file.create_dataset(name, shape, "f4", maxshape=(None, *shape[1:]), chunks=(rows, *shape[1:]))
        elif way == 11:
            file.create_dataset(name, data=h5py.Empty("f4"))
        elif way == 13:
            file[name] = former[: len(former) // 2] if np.ndim(former) else former


def spoil_keras(path: Path, draw: random.Random) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    way = draw.randrange(6)
    if way < 3:
        members["config.json"] = json.dumps(spoiled(json.loads(members["config.json"]), draw)).encode()
    elif way == 3:
        members["config.json"] = b"[" * DEEP
    elif way == 4:
        weights = path.with_name("weights.h5")
        weights.write_bytes(members["model.weights.h5"])
        spoil_hdf5(weights, draw)
        members["model.weights.h5"] = weights.read_bytes()
        weights.unlink()
    else:
        members.pop(draw.choice(sorted(members)))
        members["../../x"] = b"\0" * draw.choice((1, 100_000_000))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def spoil_onnx(path: Path, draw: random.Random) -> None:
    model = onnx.load(path)
    graph = model.graph
    node, tensor = draw.choice(graph.node), draw.choice(graph.initializer)
    way = draw.randrange(11)
    if way == 0:
        tensor.dims[:] = [draw.choice((0, -1, 10**12, 3))] * draw.randrange(4)
    elif way == 1:
        tensor.data_type = draw.randrange(30)
    elif way == 2:
        tensor.ClearField("raw_data")
    elif way == 3:
        node.op_type = draw.choice(("Loop", "If", "Quant", "x\ny", ""))
    elif way == 4 and node.attribute:
        attribute = draw.choice(node.attribute)
        attribute.i, attribute.s, attribute.type = draw.choice((-1, 2**62)), b"\xff", draw.randrange(12)
    elif way == 5:
        node.input[:] = draw.choice(([], ["", ""], list(node.input) * 2, ["nothing"]))
    elif way == 6:
        node.name = node.output[0] = draw.choice(WORDS)
    elif way == 7:
        del graph.node[draw.randrange(len(graph.node))]
    elif way == 8:
        dims = graph.input[0].type.tensor_type.shape.dim
        dims[draw.randrange(len(dims))].dim_value = draw.choice((0, -1, 10**12))
    elif way == 9:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", draw.choice(("/dev/zero", "../x", "pipe", ""))
    else:
        values = np.array(onnx.numpy_helper.to_array(tensor), copy=True)
        values = np.full(values.shape, draw.choice((np.nan, np.inf, 1e30, -1.0, 0.0, 1e-30)), np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    path.write_bytes(model.SerializeToString())


ANY_FILE = (cut, flip, flip, overwrite, other_content, nested, no_file)
OF_KIND = {
    ".json": spoil_json,
    ".toml": spoil_toml,
    ".npz": spoil_npz,
    ".h5": spoil_hdf5,
    ".keras": spoil_keras,
    ".onnx": spoil_onnx,
}


def spoil(path: Path, draw: random.Random) -> str:
    """Spoil a file in some way; return the name of the way."""
    ways = (*ANY_FILE, *[OF_KIND[path.suffix]] * 8) if path.suffix in OF_KIND else ANY_FILE
    way = draw.choice(ways)
    way(path, draw)
    return re.sub("_", " ", way.__name__)
