"""Writes what a trace measured onto the IR, at whatever level it stands."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest

from xdsl.context import Context
from xdsl.dialects.builtin import (
    DenseArrayBase,
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    NameLoc,
    StringAttr,
    SymbolRefAttr,
    UnitAttr,
)
from xdsl.ir import Attribute, Operation
from xdsl.traits import IsTerminator

from tstorch.levels import KERNEL_OPS, Level, get_dims, get_level, get_pipeline, get_source
from tstorch.locations import host_ops, node_ids
from tstorch.passes.base import TSTorchPass
from tstorch.target import get_target
from tstorch.trace.bounds import Ceilings, limit_of
from tstorch.trace.file import read_trace
from tstorch.trace.join import gpu_us, node_shares, node_us, total_us
from tstorch.trace.schema import Record, Trace, TraceError

MEASURED = "trace.measured"

Launch = tuple[Operation, Record]
"""A dispatch in the IR, and what the trace has of it."""


@dataclass(frozen=True)
class AnnotateTracePass(TSTorchPass):
    """Writes what a trace measured onto the IR, at whatever level it stands.

    Each dispatch gets its microseconds, its share of the GPU's time and the ceiling that bounds it; each kernel the sum
    of its dispatches. What has a part of a dispatch (an op in a kernel at level flow, a node's ops at onnx and prim)
    gets that part by the compiler's shares, marked `estimate`. Ops that no dispatch serves are left alone. Declines,
    with an error, a trace of another model, target or dims, or whose dispatches are not those of this IR.

        // before, with {file="tests/lit/passes/trace/annotate_trace.jsonl"}
        builtin.module attributes {tst.level = "prim", tst.source = {path = "small.onnx", sha256 = "5eed"}} {
          func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
            %y = prim.neg %x : tensor<4xf32> loc("neg")
            func.return %y : tensor<4xf32>
          }
        }
        // after
        builtin.module attributes {tst.level = "prim", tst.source = {path = "small.onnx", sha256 = "5eed"}} {
          func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
            %y = prim.neg %x {trace.measured = {us = "10.000", share = "0.1000", estimate}} : tensor<4xf32>
            func.return %y : tensor<4xf32>
          }
        }
    """

    name = "annotate-trace"

    file: str = ""
    """The trace, as `tstorch-run --trace` wrote it."""

    def apply(self, ctx: Context, module: ModuleOp) -> None:
        if not self.file:
            raise TraceError('annotate-trace needs a trace: annotate-trace{file="trace.jsonl"}')
        annotate(module, read_trace(self.file), self.file)


def annotate(module: ModuleOp, trace: Trace, file: str) -> None:
    """Writes what `trace` measured onto the ops; `file` is what errors call the trace. Raises TraceError."""
    check_belongs(module, trace, file)
    annotator = _Annotator(trace)
    if get_level(module) in (Level.ONNX, Level.PRIM):
        annotator.annotate_nodes(module)
    else:
        annotator.annotate_dispatches(module, file)


def check_belongs(module: ModuleOp, trace: Trace, file: str) -> None:
    """Raises TraceError unless model, target, dims and the passes so far are the trace's."""
    source, header = get_source(module), trace.header
    if source is None:
        raise TraceError(f"trace {file}: the module names no model that it came from (tst.source), so nothing joins")
    known = {
        "model": (source.sha256, header["model"]["sha256"]),
        "target": (get_target(module).to_json(), header["target"]),
        "dims": (get_dims(module), header.get("dims", {})),
    }
    for what, (ours, theirs) in known.items():
        if ours != theirs:
            raise TraceError(
                f"trace {file} does not belong to this IR: its {what} is {_short(theirs)}, the IR's {_short(ours)}; "
                "measure again with tstorch-run --trace"
            )
    for ours, theirs in zip_longest(get_pipeline(module), header.get("pipeline", [])):
        if ours is not None and ours != theirs:
            raise TraceError(
                f"trace {file} does not belong to this IR: pass {ours} ran here, {theirs or 'none'} there; "
                "compile as the trace's run did, or measure again with tstorch-run --trace"
            )


def _short(value: object) -> str:
    text = str(value["id"] if isinstance(value, Mapping) and "id" in value else value)
    return text if len(text) <= 40 else f"{text[:16]}..."


@dataclass(frozen=True)
class _Annotator:
    trace: Trace

    def annotate_nodes(self, module: ModuleOp) -> None:
        """Splits each node's estimate evenly over the ops that compute for it."""
        times, whole = node_us(self.trace), gpu_us(self.trace)
        ops = [op for op in host_ops(module) if _computes(op) and node_ids(op)]
        sharers = Counter(node for op in ops for node in node_ids(op))
        for op in ops:
            parts = [(times[node], sharers[node]) for node in node_ids(op) if node in times]
            if parts:
                us = None if any(time is None for time, _ in parts) else sum(time / n for time, n in parts if time)
                op.attributes[MEASURED] = _measured(us, whole, None, estimate=True)

    def annotate_dispatches(self, module: ModuleOp, file: str) -> None:
        """Annotates each dispatch of a run, the kernels, and at level flow the ops inside them."""
        whole, launched = gpu_us(self.trace), defaultdict[str, list[Launch]](list)
        for op, record in _joined(module, self.trace, file):
            launched[record["kernel"]].append((op, record))
            op.attributes[MEASURED] = self._of([record], None if record["entry"] == "init" else whole)
        for kernel in module.walk():
            name = kernel.properties.get("sym_name")
            if kernel.name in KERNEL_OPS and isinstance(name, StringAttr) and (launches := launched[name.data]):
                kernel.attributes[MEASURED] = self._of([record for _, record in launches], whole)
                if get_level(module) == Level.FLOW:
                    _annotate_members(kernel, launches, whole)

    def _of(self, records: list[Record], whole: float | None) -> DictionaryAttr:
        us, name = total_us(records), records[0]["kernel"]
        kernel = next((kernel for kernel in self.trace.kernels if kernel["name"] == name), {})
        return _measured(us, whole, limit_of(Ceilings.of(self.trace.measured), records, kernel, us).bound)


def _joined(module: ModuleOp, trace: Trace, file: str) -> Iterator[tuple[Operation, Record]]:
    """Each dispatch op with its record: by id where the op has one, else the n-th launch of a kernel is the n-th."""
    joined = 0
    by_id = {record["id"]: record for record in trace.dispatches}
    waiting = defaultdict[str, list[Record]](list)
    for record in trace.dispatches:
        waiting[record["kernel"]].append(record)
    for op in module.walk():
        kernel = op.properties.get("kernel")
        if not isinstance(kernel, SymbolRefAttr):
            continue
        name, number = kernel.root_reference.data, op.properties.get("id")
        queue = waiting[name]
        record = by_id.get(number.value.data) if isinstance(number, IntegerAttr) else queue.pop(0) if queue else None
        if record is None or record["kernel"] != name or not _same_nodes(op, record):
            raise TraceError(
                f"trace {file} does not belong to this IR: it has no such dispatch of @{name} "
                f"(for {', '.join(node_ids(op)) or 'unnamed nodes'}); the passes differ: compile as the trace's run did"
            )
        joined += 1
        yield op, record
    if joined != len(trace.dispatches):
        raise TraceError(
            f"trace {file} does not belong to this IR: it has {len(trace.dispatches)} dispatches, the IR {joined}; "
            "the passes differ: compile as the trace's run did"
        )


def _same_nodes(op: Operation, record: Record) -> bool:
    """Whether the op's location, where it has one, names nodes of the record."""
    return not node_ids(op) or not set(node_ids(op)).isdisjoint(node_shares(record))


def _annotate_members(kernel: Operation, launches: list[Launch], whole: float | None) -> None:
    """Gives each local op of a kernel its part of the dispatches: by FLOPs, as the compiler's shares are made."""
    members = {index: op for op in kernel.walk() if (index := _local_index(op)) is not None}
    parts = defaultdict[int, list[float | None]](list)
    for op, record in launches:
        flops = op.properties.get("flops")
        work = [int(n) for n in flops.get_values()] if isinstance(flops, DenseArrayBase) else []
        work = work if any(work) else [1] * len(record["nodes"])
        for index in members.keys() & set(range(len(work))):
            us = record.get("us")
            parts[index].append(None if us is None else us * work[index] / sum(work))
    for index, times in parts.items():
        us = None if None in times else sum(time for time in times if time)
        members[index].attributes[MEASURED] = _measured(us, whole, None, estimate=True)


def _local_index(op: Operation) -> int | None:
    """The local index that a computing op inside a kernel carries as its location."""
    match op.location:
        case NameLoc(desc=StringAttr(data=text)) if text.isdecimal() and _computes(op):
            return int(text)
    return None


def _computes(op: Operation) -> bool:
    return bool(op.results) and bool(op.operands) and not op.has_trait(IsTerminator)


def _measured(us: float | None, whole: float | None, bound: str | None, *, estimate: bool = False) -> DictionaryAttr:
    """The annotation. Figures are text, so that their decimals are the same on every machine."""
    entries: dict[str, Attribute] = {"us": StringAttr("untimed" if us is None else "< 1" if us < 1 else f"{us:.3f}")}
    if us is not None and whole:
        entries["share"] = StringAttr(f"{us / whole:.4f}")
    if bound is not None:
        entries["bound"] = StringAttr(bound)
    if estimate:
        entries["estimate"] = UnitAttr()
    return DictionaryAttr(entries)
