"""edgephys: from a trained physics model to silicon, with the same integers on every target."""

__version__ = "0.3.0"

from edgephys.api import LoadedModel, OpenedProject, load, open_project

__all__ = ["LoadedModel", "OpenedProject", "__version__", "load", "open_project"]
