"""Stand in for Yosys and nextpnr: record the arguments, then do what the first one says."""

import json
import os
import signal
import sys
import time
from pathlib import Path

behaviour, arguments = sys.argv[1], sys.argv[2:]
with open(os.environ["FAKE_LOG"], "a") as log:
    log.write(json.dumps([behaviour, os.getpid(), *arguments]) + "\n")

REPORT = {
    "fmax": {"$glbnet$clk": {"achieved": 123.5, "constraint": 200}, "other": {"achieved": 900.0, "constraint": 200}},
    "utilization": {
        "TRELLIS_COMB": {"used": 40, "available": 83640},
        "TRELLIS_FF": {"used": 30, "available": 83640},
        "MULT18X18D": {"used": 2, "available": 156},
        "DP16KD": {"used": 1, "available": 208},
    },
}

if behaviour == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
elif behaviour == "hangs":
    time.sleep(600)
elif behaviour == "fails_or_hangs":  # fails in one module, hangs in the others
    if "-top bad" not in Path("script.ys").read_text():
        time.sleep(600)
    time.sleep(1.0)
    sys.exit("ERROR: bad luck in bad")
elif behaviour == "strange_cell":
    Path("counts.json").write_text(json.dumps({"modules": {"\\adder": {"num_cells_by_type": {"LUT2": 3, "IBUF": 8}}}}))
elif behaviour == "netlist":
    Path("netlist.json").write_text("{}")
elif behaviour == "places":
    Path("report.json").write_text(json.dumps(REPORT))
elif behaviour == "no_clock":
    Path("report.json").write_text(json.dumps({**REPORT, "fmax": {}}))
elif behaviour == "overfull":
    print("Info: Device utilisation:")
    print("Info: \t        TRELLIS_IO:       0/    197     0%")
    print("Info: \t      TRELLIS_COMB:   99999/  24288   411%")
    print("ERROR: Unable to find legal placement for all cells, design is probably at utilisation limit.")
    sys.exit(1)
else:
    sys.exit(f"unknown behaviour {behaviour}")
