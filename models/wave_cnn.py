"""Wave simulator: the last two frames of a wave and the map of its speed -> the next frame.

Run it by itself (`python models/wave_cnn.py --data models/samples/waves.h5 --set grid=32 --out runs/waves`) or through
the CLI (`edgephys train models/wave_cnn.py --set format=one_way --set bits=6 --data data/waves.h5`).
``format`` chooses the convolutions before training: full, one_way, cp, spatial or depthwise.
Source: arXiv 2304.04964 (the formats); widths, kernel size and rates are ours.
"""

from edgephys.applications.waves.application import FrameSampling
from edgephys.applications.waves.networks.wave_cnn import WaveCnn
from edgephys.train.recipe import Recipe

RECIPE = Recipe(
    script="wave_cnn",
    net=WaveCnn(grid=32, width=16, depth=4, kernel_size=5, format="full", bits=8, input_bits=15, input_integer=3),
    learning_rate={32: 2e-3},
    epochs=24,
    batch=4,
    schedule="cosine",
    validation=0.1,
    test=0.2,
    task=FrameSampling(every=4),
)

if __name__ == "__main__":
    from edgephys.cli import train_script

    train_script(__file__)
