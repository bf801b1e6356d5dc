"""Remarks: what a pass did, declined or found out, and the nodes that vanished. Both travel in the IR."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FloatAttr, IntegerAttr, ModuleOp, StringAttr, f64, i64
from xdsl.ir import Attribute

from tstorch.diagnostics import DiagnosticError
from tstorch.locations import carried_ids

Metric = int | float | str


class RemarkKind(StrEnum):
    PASSED = "passed"
    MISSED = "missed"
    ANALYSIS = "analysis"


@dataclass(frozen=True)
class Remark:
    """One remark of a pass. `id` is stable ("TST-S004"), `nodes` are ONNX node ids, `metric` holds named figures."""

    kind: RemarkKind
    id: str
    pass_name: str
    reason: str
    nodes: tuple[str, ...] = ()
    suggest: str = ""
    metric: Mapping[str, Metric] = field(default_factory=dict)

    def __str__(self) -> str:
        """The line that `--remarks` prints."""
        where = f" at {', '.join(map(_quoted, self.nodes))}" if self.nodes else ""
        figures = "".join(f" [{name} = {value}]" for name, value in sorted(self.metric.items()))
        advice = f"; {self.suggest}" if self.suggest else ""
        return f"remark: {self.kind} {self.id}{where}: {self.reason}{advice}{figures} ({self.pass_name})"

    def to_json(self) -> dict[str, Any]:
        """The form that the artifact's `remarks.json` holds."""
        return {
            "id": self.id,
            "kind": str(self.kind),
            "metric": dict(self.metric),
            "nodes": list(self.nodes),
            "pass": self.pass_name,
            "reason": self.reason,
            "suggest": self.suggest,
        }

    def to_attribute(self) -> DictionaryAttr:
        """The form that the IR holds."""
        return DictionaryAttr(
            {
                "id": StringAttr(self.id),
                "kind": StringAttr(self.kind),
                "metric": DictionaryAttr({name: _figure(self.metric[name]) for name in sorted(self.metric)}),
                "nodes": ArrayAttr([StringAttr(node) for node in self.nodes]),
                "pass": StringAttr(self.pass_name),
                "reason": StringAttr(self.reason),
                "suggest": StringAttr(self.suggest),
            }
        )

    @classmethod
    def from_attribute(cls, attribute: Attribute) -> "Remark":
        """The remark that `to_attribute` describes. Raises DiagnosticError."""
        match attribute:
            case DictionaryAttr(
                data={
                    "id": StringAttr(data=remark_id),
                    "kind": StringAttr(data=kind),
                    "metric": DictionaryAttr(data=metric),
                    "nodes": ArrayAttr(data=nodes),
                    "pass": StringAttr(data=pass_name),
                    "reason": StringAttr(data=reason),
                    "suggest": StringAttr(data=suggest),
                }
            ) if kind in set(RemarkKind):
                names = tuple(node.data for node in nodes if isinstance(node, StringAttr))
                figures = {name: _plain(figure) for name, figure in metric.items()}
                return cls(RemarkKind(kind), remark_id, pass_name, reason, names, suggest, figures)
        raise DiagnosticError(f"tst.remarks holds {attribute}; expected what --compile-to prints")


class RemarkSink:
    """Collects the remarks and elided nodes of one pass; on leaving, writes them onto the module.

        with self.remarks(module) as remarks:
            remarks.missed(op_nodes, "TST-S004", "the inner transpose has other users")

    A repeated remark is kept once. Nothing is written when the pass raises.
    """

    def __init__(self, module: ModuleOp, pass_name: str) -> None:
        self._module = module
        self._pass_name = pass_name
        self._remarks: dict[str, Remark] = {}
        self._elided: dict[str, str] = {}

    def __enter__(self) -> "RemarkSink":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            add_remarks(self._module, self._remarks.values())
            add_elided(self._module, self._elided)

    def passed(self, nodes: Iterable[str], id: str, reason: str, **details: Any) -> None:
        """Something was done. `details`: `suggest` (text) and `metric` (named figures)."""
        self.add(Remark(RemarkKind.PASSED, id, self._pass_name, reason, tuple(nodes), **details))

    def missed(self, nodes: Iterable[str], id: str, reason: str, **details: Any) -> None:
        """Something was declined, and why."""
        self.add(Remark(RemarkKind.MISSED, id, self._pass_name, reason, tuple(nodes), **details))

    def analysis(self, nodes: Iterable[str], id: str, reason: str, **details: Any) -> None:
        """Something was found out."""
        self.add(Remark(RemarkKind.ANALYSIS, id, self._pass_name, reason, tuple(nodes), **details))

    def add(self, remark: Remark) -> None:
        """Keeps the remark, once."""
        self._remarks.setdefault(str(remark), remark)

    def elide(self, nodes: Iterable[str], reason: str) -> None:
        """Says why nodes vanish (folded, dead, identity). Nodes that some op still serves are not listed."""
        for node in nodes:
            self._elided.setdefault(node, reason)


def get_remarks(module: ModuleOp) -> list[Remark]:
    """All remarks that passes have left on the module, in order."""
    attribute = module.attributes.get("tst.remarks")
    return [Remark.from_attribute(entry) for entry in attribute] if isinstance(attribute, ArrayAttr) else []


def add_remarks(module: ModuleOp, remarks: Iterable[Remark]) -> None:
    """Appends remarks to the module's."""
    new = [remark.to_attribute() for remark in remarks]
    if new:
        old = module.attributes.get("tst.remarks")
        module.attributes["tst.remarks"] = ArrayAttr([*(old if isinstance(old, ArrayAttr) else ()), *new])


def elided_nodes(module: ModuleOp) -> dict[str, str]:
    """Node id -> why nothing is left of that node."""
    attribute = module.attributes.get("tst.elided")
    return dict(_reasons(attribute)) if isinstance(attribute, DictionaryAttr) else {}


def add_elided(module: ModuleOp, reasons: Mapping[str, str]) -> None:
    """Records nodes that vanished, except those that some op still serves."""
    gone = reasons.keys() - carried_ids(module) if reasons else set()
    if gone:
        merged = {node: reasons[node] for node in gone} | elided_nodes(module)
        module.attributes["tst.elided"] = DictionaryAttr({node: StringAttr(merged[node]) for node in sorted(merged)})


def _reasons(attribute: DictionaryAttr) -> Iterator[tuple[str, str]]:
    for node, reason in attribute.data.items():
        if not isinstance(reason, StringAttr):
            raise DiagnosticError(f"tst.elided: the reason of '{node}' is {reason}; expected a string")
        yield node, reason.data


def _figure(value: Metric) -> Attribute:
    match value:
        case int():
            return IntegerAttr(value, i64)
        case float():
            return FloatAttr(value, f64)
        case str():
            return StringAttr(value)


def _plain(attribute: Attribute) -> Metric:
    match attribute:
        case IntegerAttr():
            return attribute.value.data
        case FloatAttr():
            return attribute.value.data
        case StringAttr(data=text):
            return text
    raise DiagnosticError(f"tst.remarks: metric {attribute}; expected an integer, a float or a string")


def _quoted(text: str) -> str:
    return f'"{text}"'
