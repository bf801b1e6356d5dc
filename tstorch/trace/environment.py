"""What of the machine may spoil a measurement, as it was when measuring began."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tstorch.trace.schema import Record

GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def environment() -> Record:
    """`{load_1min, cpus, governor, system, python}`; None for what this system does not tell."""
    return {
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "cpus": os.cpu_count(),
        "governor": _governor(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _governor() -> str | None:
    try:
        return GOVERNOR.read_text(encoding="ascii").strip()
    except OSError:
        return None
