"""Every dialect and every pass by name, one line each, imported only when used."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from xdsl.ir import Dialect
from xdsl.passes import ModulePass

from tstorch.diagnostics import UsageError
from tstorch.plugins import CompilerContext, Extensions

DIALECTS: Mapping[str, str] = {
    # xDSL's
    "arith": "xdsl.dialects.arith:Arith",
    "builtin": "xdsl.dialects.builtin:Builtin",
    "func": "xdsl.dialects.func:Func",
    "math": "xdsl.dialects.math:Math",
    "memref": "xdsl.dialects.memref:MemRef",
    "test": "xdsl.dialects.test:Test",
    "vector": "xdsl.dialects.vector:Vector",
    # ours
    "buf": "tstorch.dialects.buf:Buf",
    "flow": "tstorch.dialects.flow:Flow",
    "loop": "tstorch.dialects.loop:Loop",
    "onnx": "tstorch.dialects.onnx:Onnx",
    "prim": "tstorch.dialects.prim.dialect:Prim",
    "program": "tstorch.dialects.program:Program",
    "trace": "tstorch.dialects.trace:Trace",
    "wgsl": "tstorch.dialects.wgsl:Wgsl",
}

PASSES: Mapping[str, str] = {
    "annotate-trace": "tstorch.passes.trace.annotate_trace:AnnotateTracePass",
    "apply-rules": "tstorch.passes.fusion.apply_rules:ApplyRulesPass",
    "bound-trip-counts": "tstorch.passes.loop.bound_trip_counts:BoundTripCountsPass",
    "canonicalize": "tstorch.passes.simplify.canonicalize:CanonicalizePass",
    "convert-flow-to-buf": "tstorch.passes.buffers.convert_flow_to_buf:ConvertFlowToBufPass",
    "convert-kernel-to-loop": "tstorch.passes.convert.convert_kernel_to_loop:ConvertKernelToLoopPass",
    "convert-loop-to-wgsl": "tstorch.passes.convert.convert_loop_to_wgsl:ConvertLoopToWgslPass",
    "convert-onnx-to-prim": "tstorch.passes.convert.convert_onnx_to_prim:ConvertOnnxToPrimPass",
    "cse": "tstorch.passes.simplify.cse:CsePass",
    "cut-segments": "tstorch.passes.program.cut_segments:CutSegmentsPass",
    "dce": "tstorch.passes.simplify.dce:DcePass",
    "demote-doubles": "tstorch.passes.convert.demote_doubles:DemoteDoublesPass",
    "drop-empty-tensors": "tstorch.passes.simplify.drop_empty_tensors:DropEmptyTensorsPass",
    "prefetch-tiles": "tstorch.passes.loop.prefetch_tiles:PrefetchTilesPass",
    "drop-masks": "tstorch.passes.loop.drop_masks:DropMasksPass",
    "expand-autodiff": "tstorch.passes.autodiff.expand_autodiff:ExpandAutodiffPass",
    "expand-optimizer": "tstorch.passes.autodiff.expand_optimizer:ExpandOptimizerPass",
    "fold-constants": "tstorch.passes.simplify.fold_constants:FoldConstantsPass",
    "form-dispatch-regions": "tstorch.passes.fusion.form_dispatch_regions:FormDispatchRegionsPass",
    "hoist-vector-loads": "tstorch.passes.loop.hoist_vector_loads:HoistVectorLoadsPass",
    "instrument-dispatches": "tstorch.passes.trace.instrument_dispatches:InstrumentDispatchesPass",
    "legalize-types": "tstorch.passes.convert.legalize_types:LegalizeTypesPass",
    "pack-words": "tstorch.passes.loop.pack_words:PackWordsPass",
    "outline-init": "tstorch.passes.fusion.outline_init:OutlineInitPass",
    "plan-buffers": "tstorch.passes.buffers.plan_buffers:PlanBuffersPass",
    "propagate-layout": "tstorch.passes.simplify.propagate_layout:PropagateLayoutPass",
    "round-quotients": "tstorch.passes.convert.round_quotients:RoundQuotientsPass",
    "select-schedule": "tstorch.passes.schedule.select_schedule:SelectSchedulePass",
    "tie-results": "tstorch.passes.buffers.tie_results:TieResultsPass",
    "vectorize-loop": "tstorch.passes.loop.vectorize_loop:VectorizeLoopPass",
    "split-oversized-bindings": "tstorch.passes.fusion.split_oversized_bindings:SplitOversizedBindingsPass",
    "split-reduction": "tstorch.passes.fusion.split_reduction:SplitReductionPass",
    "split-sort": "tstorch.passes.fusion.split_sort:SplitSortPass",
    "strip-measured": "tstorch.passes.trace.strip_measured:StripMeasuredPass",
    "verify-level": "tstorch.passes.verify_level:VerifyLevelPass",
}

# Forms of the result other than IR text: functions from a module to text.
PRINTERS: Mapping[str, str] = {"wgsl-text": "tstorch.printers:wgsl_text"}


def load(entry: str) -> Any:
    """The object that "module:attribute" names."""
    module, _, attribute = entry.partition(":")
    return getattr(importlib.import_module(module), attribute)


def dialect_factories() -> dict[str, Callable[[], Dialect]]:
    """Dialect name -> what loads it."""
    return {name: _factory(entry) for name, entry in DIALECTS.items()}


def pass_factories() -> dict[str, Callable[[], type[ModulePass]]]:
    """Pass name -> what loads its class."""
    return {name: _factory(entry) for name, entry in PASSES.items()}


def pass_class(name: str, extensions: Extensions | None = None) -> type[ModulePass]:
    """The class of a pass, ours or a plugin's. Raises UsageError for an unknown name."""
    extensions = extensions or Extensions()
    factories = extensions.passes | pass_factories()
    if name not in factories:
        raise UsageError(f"unknown pass '{name}'; --list-passes shows all{extensions.excuse()}")
    return factories[name]()


def make_context(extensions: Extensions | None = None) -> CompilerContext:
    """A context that knows all dialects, ours and the plugins', each loaded when an op of it is met."""
    context = CompilerContext(extensions=extensions or Extensions())
    for name, factory in (context.extensions.dialects | dialect_factories()).items():
        context.register_dialect(name, factory)
    return context


def _factory(entry: str) -> Callable[[], Any]:
    return lambda: load(entry)
