"""Inner tensors as arrays, by their names in the model, also where fusion leaves nothing of them in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tstorch.numerics.probe import Probe
from tstorch.numerics.unfused import Unfused, unfused
from tstorch.session import Model


@dataclass(frozen=True)
class Captured:
    """Tensors by name, and the dispatches that had to be taken apart so that they could be seen."""

    arrays: dict[str, np.ndarray]
    unfused: tuple[Unfused, ...]


def capture(model: Model, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> Captured:
    """What the GPU computes for the tensors of these names, on these inputs.

    The model is compiled anew with them as further outputs and run once; `model` itself stays as it is. Raises
    UsageError for a name that no node of the main graph makes, DiagnosticError for a model read from an artifact.
    """
    probe = Probe(model, inputs)
    probe.check_names(names)
    seen = probe.on_gpu(names)
    arrays = {name: seen.arrays[name] for name in names}
    return Captured(arrays, tuple(unfused(model.artifact, seen.artifact)))
