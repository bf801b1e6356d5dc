"""The four checks of a compiled model against a device. None of them knows another, and none runs anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tstorch.artifact.format import Artifact
from tstorch.artifact.limits import used_features, violations
from tstorch.artifact.slots import shelves
from tstorch.diagnostics import Violation
from tstorch.fit.device import Device
from tstorch.target import Limits

MEMORY = ("weights", "activations", "staging", "loading", "overhead")
"""What the bytes of a device's budget are for."""


@dataclass
class Findings:
    """What a check found: what forbids the model, on what condition it runs, and which datum is missing."""

    forbids: list[Violation] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def check_limits(artifact: Artifact, device: Device) -> Findings:
    """Each buffer, binding, count and workgroup against the limits; a page asks for what is beyond WebGPU's own."""
    found = Findings(forbids=violations(artifact, device.target.to_json()["limits"]))
    beyond: dict[str, Violation] = {}
    for violation in violations(artifact, _defaults()):
        if violation.rule not in beyond or int(violation.value) > int(beyond[violation.rule].value):
            beyond[violation.rule] = violation
    for rule, violation in sorted(beyond.items()):
        if not any(other.rule == rule for other in found.forbids):
            found.conditions.append(
                f"the page asks for {_camel(rule)} >= {violation.value:,} in requiredLimits: the default is "
                f"{violation.limit:,}, and {violation.node} needs more"
            )
    return found


def check_budget(artifact: Artifact, device: Device) -> Findings:
    """All that is requested at once, loading included, and what driver and browser take, against its memory."""
    planned, memory = planned_memory(artifact), device.memory
    total = planned["requested"] + planned["loading"] + memory.overhead
    found = Findings(facts=planned | {"overhead": memory.overhead, "total": total})
    largest = _largest_weights(artifact)
    if memory.hard is None:
        found.missing.append(f"memory.hard of {device.target.id}: no source says how much memory it gives")
    elif total > memory.hard:
        change = f"save {total - memory.hard:,} bytes: half-precision weights, a smaller batch or input"
        found.forbids.append(Violation("memory budget", largest, total, memory.hard, change))
    elif memory.pessimistic is not None and total > memory.pessimistic:
        found.conditions.append(
            f"{total:,} bytes are granted: {memory.pessimistic:,} are what the device is sure to give, "
            f"{memory.hard:,} the most ({memory.source})"
        )
    return found


def check_features(artifact: Artifact, device: Device, required: Iterable[str]) -> Findings:
    """The features that kernels use, and those that the user requires."""
    has = set(device.target.features)
    used = {name for kernel in artifact.kernels.values() for name in used_features(kernel.wgsl)}
    found = Findings(facts={"used": sorted(used)})
    for name in sorted((used | set(required)) - has):
        change = f"choose a device with {name}, or do without it"
        found.forbids.append(Violation(f"feature {name}", "", "required", "not there", change))
    if "timestamp-query" not in has:
        found.facts["times"] = "single dispatches are untimed there: no timestamp-query"
    return found


def check_floor(artifact: Artifact, device: Device, within_ms: float | None) -> Findings:
    """The least time that the device could need: each dispatch at its ceilings. At best, never a promise."""
    rates, found = device.rates, Findings(facts={"floor_ms": None})
    ceilings = rates.ceilings()
    if ceilings is None:
        if within_ms is not None:
            found.missing.append(f"ceilings of {device.target.id}: no source says how fast it is")
        return found
    rows = [row for row in artifact.dispatches if row["entry"] != "init"]
    floors = [ceilings.floor_us(row["bytes"], row["flops"]) for row in rows]
    floor = sum(floors) / 1e3
    found.facts = {"floor_ms": floor, "source": rates.source}
    if within_ms is not None and floor > within_ms:
        slowest = rows[floors.index(max(floors))]
        node = slowest["shares"][0]["id"] if slowest["shares"] else slowest["kernel"]
        change = "a smaller input, or a network with less work"
        found.forbids.append(Violation("time floor in ms", node, round(floor, 3), within_ms, change))
    return found


def planned_memory(artifact: Artifact) -> dict[str, int]:
    """Bytes by what they are for: `requested` is what stays while runs go on, `loading` what `init` has beside it."""
    by = {"weights": 0, "activations": 0, "loading": 0}
    for buffer in artifact.program["buffers"]:
        kind = "weights" if buffer["category"] == "weight" else "activations"
        by["loading" if buffer.get("lifetime") == "init" else kind] += buffer["bytes"]
    most, ends = artifact.manifest["target"]["limits"]["max_buffer_size"], ("inputs", "outputs")
    staging = sum(shelf.bytes for end in ends for shelf in shelves(artifact.program[end], most))
    return by | {"staging": staging, "requested": by["weights"] + by["activations"] + staging}


def _largest_weights(artifact: Artifact) -> str:
    """The weight that takes most, as what a user would shrink first."""
    weights = artifact.program["weights"]
    if not weights:
        return ""
    largest = max(weights, key=lambda weight: sum(piece["bytes"] for piece in weight["pieces"]))
    return f"weight '{largest['key']}'"


def _defaults() -> dict[str, int]:
    """WebGPU's default limits by name."""
    return dataclasses.asdict(Limits())


def _camel(rule: str) -> str:
    first, *rest = rule.split("_")
    return first + "".join(word.capitalize() for word in rest)
