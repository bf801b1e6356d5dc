"""A device as data: what to compile for, how much memory it gives, how fast it is, and who says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tstorch.diagnostics import DiagnosticError
from tstorch.target import Target, read_device_file
from tstorch.trace.bounds import Ceilings

CONFIDENCE = ("measured", "cited", "assumed")
_TABLES = {
    "about": {"name", "form", "sources", "confidence"},
    "memory": {"hard", "pessimistic", "overhead", "source"},
    "ceilings": {"copy_gb_s", "copy", "fma_gflop_s", "source"},
}


@dataclass(frozen=True)
class Memory:
    """Bytes: `hard` is what nothing larger can have, `pessimistic` what may already be refused; None where unknown.

    `overhead` is what driver and browser take beside the model's own buffers.
    """

    hard: int | None = None
    pessimistic: int | None = None
    overhead: int = 0
    source: str = ""

    @property
    def sure(self) -> int | None:
        """What is granted without a doubt, as far as it is known."""
        return self.hard if self.pessimistic is None else self.pessimistic

    def to_json(self) -> dict[str, Any]:
        """The budget as data: bytes, and who says so."""
        return {"hard": self.hard, "sure": self.sure, "source": self.source}


@dataclass(frozen=True)
class Rates:
    """The most that the device does in a second, in GB and GFLOP; None where unknown.

    `copy` has (bytes, GB) of copies by their working set, ascending; without it `copy_gb_s` holds at any size.
    """

    copy_gb_s: float | None = None
    fma_gflop_s: float | None = None
    source: str = ""
    copy: tuple[tuple[int, float], ...] = ()

    def ceilings(self) -> Ceilings | None:
        """What bounds a kernel there; None where a rate is unknown."""
        if self.copy_gb_s is None or self.fma_gflop_s is None:
            return None
        copies = tuple((size, 1e3 * rate) for size, rate in self.copy)
        return Ceilings(1e3 * self.copy_gb_s, 1e3 * self.fma_gflop_s, copies)


@dataclass(frozen=True)
class Device:
    """One device file. `form` is phone, integrated, discrete, software or specification."""

    target: Target
    name: str
    form: str
    confidence: str
    sources: tuple[str, ...]
    memory: Memory
    rates: Rates

    @classmethod
    def load(cls, id_or_path: str) -> Device:
        """A device by id (`--list-devices` has them) or by the path of a TOML file. Raises DiagnosticError."""
        path, data = read_device_file(id_or_path)
        try:
            return cls._from_toml(Target.of_device_file(data), data)
        except DiagnosticError as error:
            raise DiagnosticError(f"device file '{path}': {error}") from error

    @classmethod
    def _from_toml(cls, target: Target, data: Mapping[str, Any]) -> Device:
        tables = {name: _table(data, name) for name in _TABLES}
        about, memory, rates = tables["about"], tables["memory"], tables["ceilings"]
        confidence = about.get("confidence", "assumed")
        if confidence not in CONFIDENCE:
            raise DiagnosticError(f"about.confidence is {confidence!r}; expected one of {', '.join(CONFIDENCE)}")
        return cls(
            target,
            str(about.get("name", target.id)),
            str(about.get("form", target.device_class)),
            confidence,
            tuple(about.get("sources", ())),
            Memory(
                _size(memory, "hard"),
                _size(memory, "pessimistic"),
                _size(memory, "overhead") or 0,
                str(memory.get("source", "")),
            ),
            Rates(_rate(rates, "copy_gb_s"), _rate(rates, "fma_gflop_s"), str(rates.get("source", "")), _curve(rates)),
        )


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise DiagnosticError(f"{name} is {table!r}; expected a table of {', '.join(sorted(_TABLES[name]))}")
    if unknown := set(table) - _TABLES[name]:
        raise DiagnosticError(
            f"unknown key {', '.join(f'{name}.{key}' for key in sorted(unknown))}; "
            f"{name} has {', '.join(sorted(_TABLES[name]))}"
        )
    return table


def _size(table: Mapping[str, Any], key: str) -> int | None:
    value = table.get(key)
    if value is not None and (type(value) is not int or value < 0):
        raise DiagnosticError(f"memory.{key} is {value!r}; expected a number of bytes")
    return value


def _rate(table: Mapping[str, Any], key: str) -> float | None:
    value = table.get(key)
    if value is None:
        return None
    if not _positive(value):
        raise DiagnosticError(f"ceilings.{key} is {value!r}; expected a positive number")
    return float(value)


def _curve(table: Mapping[str, Any]) -> tuple[tuple[int, float], ...]:
    """Working sets in bytes, ascending, each with the GB of such a copy in a second."""
    rows = table.get("copy", [])
    good = isinstance(rows, list) and all(isinstance(row, list) and len(row) == 2 and _positive(*row) for row in rows)
    sizes = [row[0] for row in rows] if good else []
    if not good or any(type(size) is not int for size in sizes) or sizes != sorted(set(sizes)):
        raise DiagnosticError(f"ceilings.copy is {rows!r}; expected [bytes, GB/s] pairs, the smallest bytes first")
    return tuple((size, float(rate)) for size, rate in rows)


def _positive(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) and value > 0 for value in values)
