"""What an artifact plans, as a trace of no run: its tables without times."""

from __future__ import annotations

from pathlib import Path

from tstorch.artifact.format import Artifact
from tstorch.trace.schema import Trace


def planned_trace(path: str | Path) -> Trace:
    """The tables of the artifact at `path`. Raises ArtifactError for a file that is none."""
    artifact = Artifact.read(path)
    manifest, memory = artifact.manifest, artifact.memory
    facts = {key: manifest.get(key) for key in ("fingerprint", "model", "dims", "target", "rules", "pipeline")}
    return Trace(
        header=facts | {"memory": {key: memory[key] for key in ("arena_peak", "lower_bound", "weights")}},
        nodes=artifact.nodes,
        dispatches=artifact.dispatches,
        buffers=artifact.program["buffers"],
        tensors=memory["tensors"],
        timeline=memory["timeline"],
        remarks=artifact.remarks,
    )
