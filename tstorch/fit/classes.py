"""What a run's report says of other machines: one verdict each for a phone, an integrated and a discrete GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tstorch.artifact.format import Artifact
from tstorch.compiled import Compiled
from tstorch.fit.device import Device
from tstorch.fit.judge import Fit, Status, judge, judge_artifact

CLASSES = {"phone": "safari-ios", "integrated": "intel-iris-xe", "discrete": "chrome-desktop"}
"""The device that stands for each class."""


def judge_classes(artifact: Artifact, compiled: Compiled) -> Iterator[dict[str, Any]]:
    """A verdict a class on `artifact`, what `compiled` came to be in a run, by the checks of `tstorch-fit`.

    That takes milliseconds, for what fits a device's limits runs there as it is. What does not is compiled again, for
    that device, before it is refused. Raises DiagnosticError for what no device could run.
    """
    for name, ident in CLASSES.items():
        device = Device.load(ident)
        fit = judge_artifact(artifact, device)
        if fit.status is Status.WONT_RUN:
            fit = _compiled_again(compiled, device) or fit
        yield {"class": name, **fit.to_json()}


def _compiled_again(compiled: Compiled, device: Device) -> Fit | None:
    """The verdict on what the compiler makes for the device; None where it has no model, or runs told its shapes."""
    if compiled.model is None or compiled.segments:
        return None
    return judge(compiled.model, device, compiled.recipe)
