"""The fingerprint: what was compiled, for what, and by which passes, in 64 hex digits.

An artifact and every trace of it carry the same fingerprint, so a measurement can be refused when it is laid on another
program. Nothing of the machine at hand enters it: no path, no time, no adapter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def fingerprint(
    *,
    model_sha256: str,
    dims: Mapping[str, int],
    target: Mapping[str, Any],
    rules: Sequence[str],
    pipeline: Sequence[str],
) -> str:
    """The sha256 over model digest, dims, target, rules and pass list, as hex.

    `target` is the manifest's target object; `rules` and `pipeline` are in the order in which they apply (it matters),
    while the order of `dims` and of the target's keys does not.
    """
    facts = {
        "model": model_sha256,
        "dims": dict(dims),
        "target": dict(target),
        "rules": list(rules),
        "pipeline": list(pipeline),
    }
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
