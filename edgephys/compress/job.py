"""A compression job: which model a pipeline compresses, with which data, and the folder of the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgephys.compress.pipeline_file import Pipeline
from edgephys.workflow.firmware import FirmwarePlan


@dataclass(frozen=True)
class CompressionJob:
    """State what one run of a pipeline needs; it can be pickled, so that another process can run it.

    ``measurement`` states how models are synthesised and simulated, None: they are not; ``measure_last`` restricts it
    to the last model. ``score_test`` scores the last model on the test data. ``share_stages`` takes a stage from
    another run in the same parent folder where that has made, or is making, the same one.
    """

    model: Path
    pipeline: Pipeline
    data: Path
    test_data: Path | None
    out: Path
    seed: int = 1
    measurement: FirmwarePlan | None = None
    force: bool = False
    score_test: bool = True
    measure_last: bool = False
    share_stages: bool = False
