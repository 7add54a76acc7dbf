"""The roll-out in HLS: a second top function, which feeds a stream with a field in memory and puts the output back.

A step reads all pixels through the streaming function into an array of its own, in a dataflow, and then replaces the
state, a pixel a clock each. No array is read and written by processes that run at the same time.
"""

from __future__ import annotations

from math import prod

from edgephys import __version__
from edgephys.graph.feedback import Feedback
from edgephys.graph.graph import Graph

MOST = 65535
"""Most steps of a run: a loop needs a constant bound (UG1399, Variable Loop Bounds)."""
SOURCE = """\
// Emitted by edgephys {version}: roll-out of {top}.
// Replaces a field by the one that follows after so many steps, {most} at most. In each step the output takes the place
// of the newest of the first {state} channels, older ones shift, and the other channels stay.

#include "{top}.h"

static void rollout_read(const input_t frames[{pixels}], hls::stream<input_t> &rollout_in) {{
    for (size_t pixel = 0; pixel < {pixels}; pixel++) {{
        #pragma HLS PIPELINE II=1
        rollout_in.write(frames[pixel]);
    }}
}}

static void rollout_write(hls::stream<result_t> &rollout_out, result_t next[{pixels}]) {{
    for (size_t pixel = 0; pixel < {pixels}; pixel++) {{
        #pragma HLS PIPELINE II=1
        next[pixel] = rollout_out.read();
    }}
}}

static void rollout_step(const input_t frames[{pixels}], result_t next[{pixels}]) {{
    #pragma HLS DATAFLOW
    hls::stream<input_t> rollout_in;
    #pragma HLS STREAM variable=rollout_in depth=2
    hls::stream<result_t> rollout_out;
    #pragma HLS STREAM variable=rollout_out depth=2
    rollout_read(frames, rollout_in);
    {top}(rollout_in, rollout_out);
    rollout_write(rollout_out, next);
}}

static void rollout_replace(input_t frames[{pixels}], const result_t next[{pixels}]) {{
    for (size_t pixel = 0; pixel < {pixels}; pixel++) {{
        #pragma HLS PIPELINE II=1
        const input_t before = frames[pixel];
        const result_t newest = next[pixel];
        input_t after;
{moved}
        frames[pixel] = after;
    }}
}}

void {name}(input_t frames[{pixels}], unsigned steps) {{
    #pragma HLS INTERFACE ap_memory port=frames
    #pragma HLS INTERFACE ap_none port=steps
    result_t next[{pixels}];
    for (unsigned step = 0; step < {most}; step++) {{
        if (step == steps)
            break;
        rollout_step(frames, next);
        rollout_replace(frames, next);
    }}
}}
"""


def name_of(top: str) -> str:
    """Return the name of the roll-out of a top function, and of its source."""
    return f"{top}_rollout"


def source(graph: Graph, of: Feedback, top: str) -> str:
    """Return the source of the roll-out of a streaming function ``top``."""
    older, newest = range(of.state - of.frame), range(of.state - of.frame, of.state)
    moved = [f"after[{channel}] = before[{channel + of.frame}];" for channel in older]
    moved += [f"after[{channel}] = newest[{number}];" for number, channel in enumerate(newest)]
    moved += [f"after[{channel}] = before[{channel}];" for channel in range(of.state, of.channels)]
    return SOURCE.format(
        version=__version__,
        top=top,
        name=name_of(top),
        state=of.state,
        most=MOST,
        pixels=prod(graph.input.shape[:-1]),
        moved="\n".join(f"        {line}" for line in moved),
    )
