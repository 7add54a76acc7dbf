"""A network on a microcontroller, without hardware: emitted as C, compiled for Arm Cortex-M, run in QEMU.

    python examples/microcontroller.py models/zoo/jet_deepsets_n8_8bit

needs arm-none-eabi-gcc with newlib, and qemu-system-arm. Its flash, RAM and instructions are counted; every output that
QEMU gives is compared with the golden model. QEMU has no clock cycles.
"""

import sys
from pathlib import Path

import edgephys as ep

SIZES = ("flash_bytes", "ram_bytes", "stack_bound_bytes", "instructions")


def main(folder: str, out: Path = Path("hls_projects")) -> dict[str, dict[str, float]]:
    """Emit a model in two styles of code, verify both, and return their sizes by style."""
    model = ep.load(folder)
    sizes: dict[str, dict[str, float]] = {}
    for style in ("auto", "loops"):
        project = model.emit("c", out / f"{model.name}_{style}", prefix="network", style=style, vectors=200, force=True)
        print(f"{style}: {project.verify().mismatches} mismatches on this machine")
        figures = project.report()
        if figures["flash_bytes"].value is None:
            sys.exit(f"not measured: {figures['flash_bytes'].why}")
        sizes[style] = {name: figures[name].value for name in SIZES}
        for name in SIZES:
            figure = figures[name]
            print(
                f"  {name:18} {figure.value:>9,} {figure.unit} ({figure.stage.value}, {figure.tool}, {figure.target})"
            )
    print(f"What you hold now: network.c and network.h in {out}/{model.name}_loops/firmware, for any C99 compiler;")
    print("the page docs/targets.md has a main program that calls them.")
    return sizes


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "models/zoo/jet_deepsets_n8_8bit")
