"""A model of your own: a function that returns a Keras model, of QKeras layers and of any data.

    edgephys train examples/my_model.py --data mine.npz --set width=32 --out runs/own

``model`` is the only name that edgephys looks for. Its arguments become settings, with the types of their annotations.
``RECIPE`` may state how it is trained; everything in it may be left out.
"""

import keras
from qkeras import QActivation, QDense, quantized_bits, quantized_relu

RECIPE = {"epochs": 30, "batch": 128, "learning_rate": 3e-3}


def model(inputs: int = 4, width: int = 16, classes: int = 3, bits: int = 6) -> keras.Model:
    """Return a classifier with one hidden layer; the data have arrays x of (example, 4) and y of class numbers."""

    def dense(units: int, name: str) -> QDense:
        weights = quantized_bits(bits, 0, alpha=1)
        return QDense(units, kernel_quantizer=weights, bias_quantizer=weights, name=name)

    x = flow = keras.Input((inputs,), name="x")
    flow = QActivation(quantized_relu(bits, 2), name="hidden_relu")(dense(width, "hidden")(flow))
    return keras.Model(x, dense(classes, "logits")(flow))
