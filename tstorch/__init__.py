"""TSTorch: an execution microscope for ONNX models on WebGPU."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tstorch.session import load
    from tstorch.training import grads, train

__version__ = "0.1.0"
__all__ = ["__version__", "grads", "load", "train"]

# In a clone that is not installed, dialects/, passes/ and tools/ stand beside this folder.
_here = Path(__file__).resolve().parent
if not (_here / "dialects").is_dir():
    __path__.append(str(_here.parent))


def __getattr__(name: str) -> object:
    """`load`, `grads` and `train`, imported when first used: `import tstorch` stays cheap."""
    if name in ("load", "grads", "train"):
        home = "tstorch.session" if name == "load" else "tstorch.training"
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'tstorch' has no attribute {name!r}")
