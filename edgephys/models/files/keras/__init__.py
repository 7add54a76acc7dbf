"""Lower a Keras model to the Graph: a rule for each class of layer, or a refusal that names the layer."""

from edgephys.models.files.keras.lower import Lowered, lower, lowered

__all__ = ["Lowered", "lower", "lowered"]
