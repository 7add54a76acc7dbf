"""OrangeCrab r0.2.1 with an ECP5-85F: the board of the 25F with a larger part."""

from dataclasses import replace

from edgephys.targets.rtl.board import orangecrab_25f

BOARD = replace(
    orangecrab_25f.BOARD, name="orangecrab_85f", title="OrangeCrab 85F", part="LFE5U-85F-8MG285C", device="85k"
)
