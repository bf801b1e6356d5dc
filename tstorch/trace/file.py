"""Trace files: JSON Lines, written whole or not at all, read back with every fault named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tstorch.diagnostics import write_text_atomically
from tstorch.trace.schema import RECORDS, REQUIRED, SCHEMA, Record, Trace, TraceError


def write_trace(trace: Trace, path: str | Path) -> None:
    """Writes `trace` to `path`, whole or not at all. Raises `DiagnosticError` where the file cannot be written."""
    write_text_atomically(Path(path), "".join(f"{line}\n" for line in trace_lines(trace)))


def trace_lines(trace: Trace) -> Iterator[str]:
    """The lines of a trace file: header, records by kind, what was measured, and an end line that counts them."""
    count = 0
    for record in _records(trace):
        yield json.dumps(record, separators=(",", ":"), allow_nan=False)
        count += 1
    yield json.dumps({"t": "end", "records": count}, separators=(",", ":"))


def read_trace(path: str | Path) -> Trace:
    """Reads the trace at `path`.

    Raises `TraceError` for a file that is missing, truncated, not a trace, or of a newer major version.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TraceError(f"trace {path}: {error.strerror}; give a file written by tstorch-run --trace") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"trace {path}: not text; give a file written by tstorch-run --trace") from error
    records = [_parse_line(path, number, line) for number, line in enumerate(text.splitlines(), 1)]
    _check_frame(path, records)
    for number, record in enumerate(records, 1):
        if missing := sorted(REQUIRED.get(record["t"], frozenset()) - set(record)):
            raise TraceError(f"trace {path}, line {number}: a {record['t']} has no {', '.join(missing)}; measure again")
    return _assemble(records)


def _records(trace: Trace) -> Iterator[Record]:
    yield {"t": "header", "schema": SCHEMA, **trace.header}
    for kind, attribute in RECORDS.items():
        for record in getattr(trace, attribute):
            yield {"t": kind, **record}
    yield {"t": "measured", **trace.measured}


def _parse_line(path: Path, number: int, line: str) -> Record:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise TraceError(
            f"trace {path}, line {number}: not JSON ({error.msg}); the file is truncated or no trace"
        ) from None
    if not isinstance(record, dict) or not isinstance(record.get("t"), str):
        raise TraceError(f"trace {path}, line {number}: a record is an object with a kind 't'; this is no trace")
    return record


def _check_frame(path: Path, records: list[Record]) -> None:
    """A whole trace opens with a header that we can read, and closes with the count of all lines before."""
    if not records or records[0]["t"] != "header":
        raise TraceError(f"trace {path}: has no header line; give a file written by tstorch-run --trace")
    _check_schema(path, records[0].get("schema"))
    last = records[-1]
    if last["t"] != "end" or last.get("records") != len(records) - 1:
        raise TraceError(f"trace {path}: truncated after {len(records)} lines; measure again with tstorch-run --trace")


def _check_schema(path: Path, found: object) -> None:
    family, major = SCHEMA.split("/")
    found_family, _, found_major = str(found).partition("/")
    if found_family != family or not found_major.isdigit():
        raise TraceError(f"trace {path}: schema is {found!r}; expected {SCHEMA!r}")
    if int(found_major) > int(major):
        raise TraceError(f"trace {path}: schema {found!r} is newer than {SCHEMA!r}; update tstorch to read it")


def _assemble(records: list[Record]) -> Trace:
    header = {key: value for key, value in records[0].items() if key not in ("t", "schema")}
    trace = Trace(header)
    for record in records[1:-1]:
        kind = record.pop("t")
        if kind == "measured":
            trace.measured = record
        elif attribute := RECORDS.get(kind):
            getattr(trace, attribute).append(record)
    return trace
