"""Measures the adapter at hand into a device file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from tstorch.diagnostics import write_text_atomically
from tstorch.runtime.client import Worker
from tstorch.target import Limits, Target

_FEATURES = ("shader-f16", "subgroup", "timestamp-query")
_HEADER = "# Measured by tstorch-fit --probe; memory is what this system tells, and nothing where it does not.\n"


def probe(path: str, adapter: str | None = None) -> str:
    """Writes the device file and returns a line on what it holds. Raises DiagnosticError."""
    with Worker.start(adapter=adapter) as worker:
        info = worker.adapter_info()
        worker.open(Target.default(info["class"]).to_json())
        rates = worker.ceilings()
    write_text_atomically(Path(path), device_text(info, rates, _memory(info["class"])))
    return (
        f"{path}: {info['name']} ({info['backend']}, {info['driver']}), copy {rates['copy_gb_s']:.3g} GB/s, "
        f"fma {rates['fma_gflop_s']:.4g} GFLOP/s, {rates['units']} units"
    )


def device_text(info: dict[str, Any], rates: dict[str, Any], memory: int | None) -> str:
    """The TOML of a device; limits that the adapter does not tell stay WebGPU's defaults."""
    known = {name: info["limits"].get(name) for name in Limits.__dataclass_fields__}
    limits = "".join(f"{name} = {size}\n" for name, size in known.items() if size)
    features = ", ".join(f'"{name}"' for name in _FEATURES if name in info["features"])
    curve = ", ".join(f"[{row['bytes']}, {row['gb_s']:.4g}]" for row in rates.get("copy", ()))
    memory_table = "" if memory is None else f'\n[memory]\nhard = {memory}\nsource = "memory of this machine"\n'
    return (
        f'{_HEADER}id = "{_id(info["name"])}"\nclass = "{info["class"]}"\nunits = {rates["units"]}\n'
        f"features = [{features}]\n\n"
        f"[limits]\n{limits}\n"
        f'[about]\nname = "{_quoted(info["name"])}"\nconfidence = "measured"\n'
        f'sources = ["measured with {_quoted(info["backend"])}, {_quoted(info["driver"] or "driver not named")}"]\n'
        f"{memory_table}\n"
        f"[ceilings]\ncopy_gb_s = {rates['copy_gb_s']:.6g}\nfma_gflop_s = {rates['fma_gflop_s']:.6g}\n"
        f'copy = [{curve}]\nsource = "measured by short kernels"\n'
    )


def _memory(device_class: str) -> int | None:
    """Of a GPU that shares the host's memory, all of it; WebGPU does not tell what a card of its own has."""
    if device_class == "discrete" or not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _id(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
