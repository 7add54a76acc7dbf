"""Scan the sources of an HLS project for what we do not emit.

Headers of hls4ml and ours are compared with the installed ones by content. What is written for the network alone may
only use the words below, and names with a number such as layer4_out.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgephys.core.errors import ProjectError
from edgephys.core.names import require_count, require_identifier
from edgephys.targets.emit_again import emit_again
from edgephys.targets.hls.csim import KERNELS, TYPES
from edgephys.targets.hls.rollout import name_of
from edgephys.targets.hls.rules import GATHER, RULES, KernelRule
from edgephys.targets.source_scan import Scanned, Token, c_tokens, facts_are_ours

KEYWORDS = """array bool class const extern false for if inline namespace public return size_t static struct template
true typedef typename unsigned using void int float double"""
TYPE_NAMES = """ac_channel ac_fixed ac_int ap_fixed ap_ufixed ap_int ap_uint buffer hls stream std nnet value_type
input_t result_t accum_t bias_t weight_t constant_t index_t data_T res_T x_T y_T CONFIG_T K S W inp inp1 inp2 out"""
MODES = " ".join(
    f"{maker}_{mode}"
    for maker in ("AP", "AC")
    for mode in [
        "TRN",
        "TRN_ZERO",
        "RND",
        "RND_ZERO",
        "RND_INF",
        "RND_MIN_INF",
        "RND_CONV",
        "RND_CONV_ODD",
        "WRAP",
        "SAT",
        "SAT_ZERO",
        "SAT_SYM",
    ]
)
OF_HLS4ML = """BatchedDenseForConv1D CCS_BLOCK Conv1DLatency DIV_ROUNDUP DenseLatency FillConv1DBuffer FillConv2DBuffer
PointwiseConv1D biases clone_stream conv1d_config conv_implementation conv_kernel data dense dense_config dilation
fill_buffer filt_height filt_width implementation in_height in_width io_parallel io_stream io_type kernel kernel_size
latency linebuffer load_weights_from_txt loaded_weights min_width mult mult_config multiplier_limit n_chan n_filt n_in
n_nonzeros n_out n_partitions n_pixels n_zeros out_height out_width pad_bottom pad_left pad_right pad_top partition
pixels pointwise_conv pointwise_conv_1d_cl product res resource reuse_factor scale_index scale_index_regular
store_weights_in_bram strategy stride_height stride_width weights"""
OURS = """beat beats block channels column_reach column_spread column_stride columns count entries first groups height
inner inputs lag last_column last_row left length most offset outer outputs own parts passes period row_reach row_spread
row_stride rows size steps terms up values width i x y y_pixel"""
OF_ROLLOUT = """after before break frames newest next pixel rollout_in rollout_out rollout_read rollout_replace
rollout_step rollout_write step"""
METHODS = ("read", "write")
"""What is called of a stream, and of nothing else."""
WORDS = frozenset(" ".join((KEYWORDS, TYPE_NAMES, MODES, OF_HLS4ML, OURS, OF_ROLLOUT)).split())
"""Words of the emitted sources."""
NUMBERED = re.compile(
    r"(config|layer|n|w|b|c|s|x|process_n|pointwise_|fill_buffer_|dense_)\d+\w*|edge_[a-z0-9_]+", re.ASCII
)
"""Names with a number, and kernels of ours, which are all in the namespace nnet."""
TEXTS = re.compile(r"[a-z]\d+\.txt|layer\d+\w*", re.ASCII)
"""Texts: the weights of a C simulation, and the name of a stream."""
OWN = ("defines.h", "parameters.h", "nnet_utils/nnet_code_gen.h")
WEIGHTS = re.compile(r"weights/[a-z]\d+\.(h|txt)", re.ASCII)
OF_OTHERS = re.compile(
    r"(ac_\w+/(LICENSE|README\.md|pdfdocs/.*\.pdf|tests/(Makefile|\w+\.bat)|gdb/.*\.pyc?)|layer_summary\.txt)", re.ASCII
)
"""Files of the vendors' packages that no compiler reads."""
BESIDE = re.compile(r"README\.md|\w+\.(tcl|yml|sh)|\w+_(test|bridge)\.cpp|tb_data|firmware|catapult_\w+", re.ASCII)
"""What lies beside the sources: scripts for the vendors' tools, which nothing here runs, vectors, a README."""


def scan(folder: Path, facts: Mapping[str, Any]) -> None:
    """Raise ProjectError for facts or sources of an HLS project that could do more than compute."""
    top = _top(folder, facts)
    tops = (top, name_of(top)) if "rollout" in facts else (top,)
    home = folder / "firmware"
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not BESIDE.fullmatch(path.name) or path.is_symlink():
            raise _unknown(folder, path)
    directives, variables = _directives(top), {facts["input"]["name"], facts["output"]["name"]}
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        if path.is_symlink():
            raise _unknown(folder, path)
        if path.is_dir() or OF_OTHERS.fullmatch(name) or _digest(path) in installed():
            continue
        if name not in (*OWN, *(f"{of}.cpp" for of in tops), f"{top}.h") and not WEIGHTS.fullmatch(name):
            raise _unknown(folder, path)
        if not name.endswith(".txt"):  # written anew from the headers before every run
            _scan_source(Scanned(folder, path), directives, tops, variables)


def _unknown(folder: Path, path: Path) -> ProjectError:
    return ProjectError(
        f"{folder}: {path.relative_to(folder)} is neither what we emit nor a header of the installed hls4ml; restore "
        f"it, install the hls4ml that the manifest names, or {emit_again(folder, 'hls')}"
    )


def _top(folder: Path, facts: Mapping[str, Any]) -> str:
    with facts_are_ours(folder):
        top = require_identifier("facts: top", facts["top"])
        if not top.endswith("_top"):
            raise ValueError(f"top must end in _top, not {top}")
        for port in ("input", "output"):
            require_identifier(f"facts: {port}: name", facts[port]["name"])
            for length in facts[port]["shape"]:
                require_count(f"facts: {port}: shape", length)
        for probe in facts["probes"]:
            for length in probe["shape"]:
                require_count("facts: probes: shape", length)
        if "rollout" in facts and facts["rollout"]["top"] != name_of(top):
            raise ValueError(f"top of the roll-out must be {name_of(top)}, not {facts['rollout']['top']}")
        if facts["backend"] not in TYPES:
            raise ValueError(f"backend must be one of {', '.join(TYPES)}, not {facts['backend']}")
    return top


@functools.cache
def installed() -> frozenset[str]:
    """Return the digests of the headers that hls4ml installs, and of our kernels."""
    spec = importlib.util.find_spec("hls4ml")
    if spec is None or spec.origin is None:
        raise ProjectError("hls4ml is missing, with whose headers the project is compared: pip install hls4ml")
    templates = Path(spec.origin).parent / "templates"
    paths = [path for path in templates.rglob("*") if path.suffix in (".h", ".hpp", ".cpp")]
    return frozenset(_digest(path) for path in (*paths, *KERNELS.iterdir()) if path.is_file())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _directives(top: str) -> list[re.Pattern[str]]:
    header = (
        rf'"({top}|defines|parameters|nnet_utils/nnet_\w+|nnet_\w+|weights/[a-z]\d+|ap_\w+|ac_\w+|hls_\w+)\.h"'
        r"|<(array|cstddef|cstdio|tuple|iostream|ac_\w+\.h|mc_scverify\.h)>"
    )
    guard = r"[A-Z0-9_]+_H_?|EDGEPHYS_KERNEL_\w+"
    return [
        re.compile(pattern, re.ASCII)
        for pattern in (
            rf"#include ({header})",
            rf"#(ifdef|ifndef) (__SYNTHESIS__|EDGEPHYS_PROBE|{guard})",
            rf"#define ({guard})",
            r"#(else|endif)",
            r"#pragma HLS [\w ,=.\-]+",
            r"#pragma hls_\w+[\w ,=.\-]*",
        )
    ]


def _scan_source(
    scanned: Scanned, directives: Sequence[re.Pattern[str]], tops: Sequence[str], variables: set[str]
) -> None:
    source = c_tokens(scanned, directives, TEXTS, _without_kernels)
    for at, token in enumerate(source):
        if token.kind != "word" or token.text in WORDS or token.text in tops or NUMBERED.fullmatch(token.text):
            continue
        if token.text in variables and not _is_called(source, at):
            continue
        if token.text in METHODS and at and source[at - 1].text == ".":
            continue
        raise scanned.refuse(token.line, f"the word '{token.text}'")


def _is_called(source: Sequence[Token], at: int) -> bool:
    return at + 1 < len(source) and source[at + 1].text in ("(", "<", ":")


def _without_kernels(text: str) -> str:
    """Return a source without the kernels that rules of the installed operations state."""
    for rule in (GATHER, *map(RULES.entry, RULES.operations())):
        if isinstance(rule, KernelRule) and rule.text and rule.text in text:
            text = text.replace(rule.text, "\n" * rule.text.count("\n"))
    return text
