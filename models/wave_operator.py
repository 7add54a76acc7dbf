"""Wave simulator that cannot blow up: the last two frames and the map of the wave speed -> the next frame.

Run it by itself (`python models/wave_operator.py --data models/samples/waves.h5 --out runs/waves`) or through the CLI
(`edgephys train models/wave_operator.py --data data/waves.h5 --set bits=float --out runs/float`, then the same with
`--set bits=8 --set epochs=10 --set learning_rate=5e-4 --start runs/float`).
"""

from edgephys.applications.waves.application import FrameSampling
from edgephys.applications.waves.networks.wave_operator import WaveOperator
from edgephys.train.recipe import Recipe

RECIPE = Recipe(
    script="wave_operator",
    net=WaveOperator(width=12),
    learning_rate={32: 3e-3},
    epochs=40,
    batch=32,
    schedule="cosine",
    validation=0.1,
    test=0.2,
    task=FrameSampling(every=4, unroll=8),
)

if __name__ == "__main__":
    from edgephys.cli import train_script

    train_script(__file__)
