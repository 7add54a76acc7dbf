"""The golden program run on alkaid's symbols, and alkaid's own interpreter of what it made: RTL without a simulator."""

import numpy as np

from edgephys.graph import evaluate
from edgephys.targets.rtl.exact_tracing import exact_tracing
from edgephys.targets.rtl.logic import HARDWARE, SOLVER


def interpreted(graph, x):
    """Return what alkaid's interpreter computes.  Shape: x (vector, *input shape), integers in steps."""
    from alkaid.trace import FVArray, HWConfig, trace

    node = graph.input
    size, fixed = int(np.prod(node.shape)), node.fixed
    kif = [np.full(size, n) for n in (int(fixed.signed), fixed.bits - fixed.signed, 0)]
    with exact_tracing():
        hardware = HWConfig(*HARDWARE)
        variables = np.asarray(FVArray.from_kif(*kif, hardware)).copy()
        symbols = FVArray(variables.reshape(node.shape), dict(SOLVER), hwconf=hardware)
        edges = np.ravel(np.asarray(evaluate.run(graph, symbols)))
        if all(variable.low == variable.high for variable in edges):
            known = [int(variable.low) for variable in edges]
            return np.broadcast_to(np.array(known).reshape(graph.output.shape), (len(x), *graph.output.shape))
        program = trace(variables, edges)
    return program.predict(x.reshape(len(x), -1).astype(float)).reshape(len(x), *graph.output.shape).astype(np.int64)
