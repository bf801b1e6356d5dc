"""ONNX files made into modules at level onnx, and where their weights lie."""

from tstorch.frontend.importer import import_model
from tstorch.frontend.weights import WeightStore

__all__ = ["WeightStore", "import_model"]
