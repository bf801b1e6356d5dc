"""From a model and a device to a verdict: compiled for that device, then checked four ways."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from tstorch.artifact.format import Artifact
from tstorch.compiled import AnyModel, Recipe, compile_model
from tstorch.diagnostics import LimitError, Violation
from tstorch.fit.checks import Findings, check_budget, check_features, check_floor, check_limits
from tstorch.fit.device import Device


class Status(StrEnum):
    """What is said of a model on a device. There is no bare yes: what was checked stands with it."""

    RUNS = "RUNS"
    RUNS_IF = "RUNS-IF"
    WONT_RUN = "WONT-RUN"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Fit:
    """A verdict with its evidence. `memory` and `floor_ms` are None where the model could not be compiled."""

    device: Device
    status: Status
    forbids: list[Violation] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    memory: dict[str, int] | None = None
    floor_ms: float | None = None
    dispatches: int | None = None
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The verdict as data; `reasons` are as in `tstorch-run --json`."""
        return {
            "device": self.device.target.id,
            "name": self.device.name,
            "status": str(self.status),
            "reasons": [asdict(violation) for violation in self.forbids],
            "conditions": self.conditions,
            "missing": self.missing,
            "memory": self.memory,
            "budget": self.device.memory.to_json(),
            "floor_ms": self.floor_ms,
            "dispatches": self.dispatches,
            "notes": self.notes,
            "confidence": self.device.confidence,
            "sources": list(self.device.sources),
        }


def judge(
    model: AnyModel, device: Device, recipe: Recipe, *, require: tuple[str, ...] = (), within_ms: float | None = None
) -> Fit:
    """Compiles the model for the device and checks it. Raises DiagnosticError for what no device could run.

    `require` names features that must be there, `within_ms` a time that the least possible one must not exceed.
    """
    try:
        artifact = compile_model(model, replace(recipe, target=device.target)).artifact
    except LimitError as error:
        return Fit(device, Status.WONT_RUN, forbids=[error.violation])
    return judge_artifact(artifact, device, require=require, within_ms=within_ms)


def judge_artifact(
    artifact: Artifact, device: Device, *, require: tuple[str, ...] = (), within_ms: float | None = None
) -> Fit:
    """Checks what was compiled for the device."""
    limits, budget = check_limits(artifact, device), check_budget(artifact, device)
    features, floor = check_features(artifact, device, require), check_floor(artifact, device, within_ms)
    checks = (limits, budget, features, floor)
    forbids = [violation for check in checks for violation in check.forbids]
    conditions = [condition for check in checks for condition in check.conditions]
    missing = [*_untold(artifact), *(datum for check in checks for datum in check.missing)]
    return Fit(
        device,
        _status(forbids, conditions, missing),
        forbids,
        conditions,
        missing,
        budget.facts,
        floor.facts["floor_ms"],
        sum(row["entry"] != "init" for row in artifact.dispatches),
        _notes(features),
    )


def _status(forbids: list[Violation], conditions: list[str], missing: list[str]) -> Status:
    """One rule broken is enough; where a datum is missing nothing is promised, whatever the rest says."""
    if forbids:
        return Status.WONT_RUN
    if missing:
        return Status.UNKNOWN
    return Status.RUNS_IF if conditions else Status.RUNS


def _untold(artifact: Artifact) -> list[str]:
    """What no check could see: nodes whose shapes a run tells, of which there is no kernel yet."""
    waiting = [node["id"] for node in artifact.nodes if node["where"] == "run" and not node["dispatches"]]
    if not waiting:
        return []
    return [f"the shapes of {len(waiting)} nodes from '{waiting[0]}' on: a run tells them, so ask tstorch-run"]


def _notes(features: Findings) -> list[str]:
    return [features.facts["times"]] if "times" in features.facts else []
