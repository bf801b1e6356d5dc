"""The whole chain, for many models in turn on one worker: compiled, loaded onto the GPU, run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from networks import onnxruntime_outputs
from onnx import ModelProto

from tstorch.artifact.format import Artifact
from tstorch.check import relative_error
from tstorch.compiled import Compiled, compile_model
from tstorch.inputs import draw_inputs
from tstorch.runtime.client import Worker
from tstorch.session import make_recipe

Arrays = dict[str, np.ndarray]


class Chain:
    """One worker, and a file for what it loads next."""

    def __init__(self, worker: Worker, folder: Path) -> None:
        self.worker = worker
        self.path = folder / "model.tst"

    def compiled(self, model: ModelProto | str | Path, **options: Any) -> Compiled:
        """The artifact for this adapter's class; options as for `tstorch.load`. Plugins stay out of it."""
        return compile_model(model, make_recipe(self.worker.adapter_info()["class"], plugins=False, **options))

    def run(self, compiled: Compiled, inputs: Arrays) -> Arrays:
        """The outputs on the GPU."""
        return self.run_artifact(compiled.artifact, compiled.sources, inputs)

    def run_artifact(self, artifact: Artifact, sources: Mapping[str, Any], inputs: Arrays) -> Arrays:
        """The outputs on the GPU of an artifact whose weights lie where `sources` says."""
        artifact.write(self.path)
        self.worker.load(self.path, sources)
        return self.worker.run(inputs)

    def errors(self, model: ModelProto, **options: Any) -> tuple[Compiled, dict[str, float]]:
        """What was compiled, and how far each output on the GPU is from onnxruntime's."""
        compiled = self.compiled(model, **options)
        inputs = draw_inputs(compiled.artifact.program["inputs"])
        found, expected = self.run(compiled, inputs), onnxruntime_outputs(model, inputs)
        assert found.keys() == expected.keys()
        return compiled, {name: relative_error(found[name], expected[name]) for name in expected}
