"""The node whose result is wrong though all that it reads is right: found by bisection, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tstorch.artifact.format import Artifact
from tstorch.check import Arrays, compare
from tstorch.frontend.graph import GraphNode
from tstorch.numerics.probe import MOST_BYTES, Probe
from tstorch.numerics.unfused import nodes_of, serving
from tstorch.session import Model

AT_ONCE = 8
"""Tensors compared in one round: each given out takes fused kernels apart, which may hide what is looked for."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Divergence:
    """What a bisection found: `row` of a node's result is too far from the reference, those of `inputs`, which are
    what the node reads, are not.

    `hidden` are tensors in front of it that cannot be looked at: once they are given out the outputs are right, so the
    fault is in the kernel that fuses them away. `fused` are the nodes of the node's dispatch, `kernel` is its kernel;
    where no dispatch serves it any more, `gone` says why.
    `rounds` is how often the model was compiled anew, `compared` how many tensors were looked at.
    """

    node: GraphNode
    row: Row
    inputs: tuple[Row, ...]
    hidden: tuple[str, ...]
    fused: tuple[str, ...]
    kernel: str
    gone: str
    rounds: int
    compared: int

    def to_json(self) -> Row:
        """The form that a trace and a report hold."""
        return {
            "node": self.node.id,
            "op_type": self.node.op_type,
            "tensor": self.row["output"],
            "reference": self.row["reference"],
            "error": self.row["error"],
            "inputs": [{"tensor": row["output"], "error": row["error"]} for row in self.inputs],
            "hidden": list(self.hidden),
            "fused": list(self.fused),
            "kernel": self.kernel,
            "gone": self.gone,
            "rounds": self.rounds,
            "compared": self.compared,
            "most_bytes": MOST_BYTES,
        }


def find_divergence(model: Model, inputs: Arrays, check: Mapping[str, Any]) -> Divergence | None:
    """The first wrong node on the way to the first wrong output of `check` (as `check_outputs` gives it); None where
    all are right.

    Tensors between are given out and compared, at most AT_ONCE and MOST_BYTES of them at a time, in rounds that each
    leave a part of the candidates. What is found last is proven: it is wrong, and all that its node reads is right.
    """
    wrong = next((row for row in check["outputs"] if not row["ok"]), None)
    if wrong is None:
        return None
    return _Bisection(Probe(model, inputs), wrong, check["tolerance"]).run()


class _Bisection:
    def __init__(self, probe: Probe, wrong: Row, tolerance: float) -> None:
        self._probe = probe
        self._output = wrong["output"]
        self._reference = wrong["reference"]
        self._tolerance = tolerance
        self._rows: dict[str, Row] = {self._output: wrong}
        self._hidden: dict[str, None] = {}
        self._passed: dict[str, None] = {}
        self._rounds = 0

    def run(self) -> Divergence:
        """Narrows down; then looks at what the found node reads, and where some of that is wrong goes on before it."""
        order = _ancestors(self._probe, self._output)
        found = self._narrow(order)
        while earlier := self._wrong_before(found):
            found = self._narrow(order[: order.index(earlier) + 1])
        return self._divergence(found)

    def _narrow(self, order: Sequence[str]) -> str:
        """Of tensors whose last is wrong, a wrong one that comes right behind one that is not, or behind none."""
        found, left = order[-1], list(order[:-1])
        while left := [name for name in left if name not in self._hidden]:
            chosen = self._chosen(left)
            self._compare(chosen)
            for name in (name for name in chosen if name in self._rows):
                place = left.index(name)
                if not self._rows[name]["ok"]:
                    found, left = name, left[:place]
                    break
                left = [*left[place + 1 :]]
        return found

    def _chosen(self, candidates: Sequence[str]) -> list[str]:
        """Some of them, evenly spread: as many as the bounds let."""
        for count in range(min(AT_ONCE, len(candidates)), 1, -1):
            places = dict.fromkeys((at + 1) * len(candidates) // (count + 1) for at in range(count))
            picked = [candidates[place] for place in places]
            if sum(map(self._probe.size, picked)) <= MOST_BYTES:
                return picked
        return [candidates[len(candidates) // 2]]

    def _wrong_before(self, name: str) -> str | None:
        """A wrong tensor that the maker of this one reads, past those that cannot be looked at."""
        names = self._read(name)
        self._compare(names)
        return next((each for each in self._read(name) if each in self._rows and not self._rows[each]["ok"]), None)

    def _read(self, name: str) -> list[str]:
        """What a tensor's maker reads of other nodes; what cannot be looked at is replaced by what it is made of."""
        found: dict[str, None] = {}
        waiting, self._passed = [name], dict[str, None]()
        while waiting:
            for each in self._probe.graph.makers[waiting.pop()].inputs:
                if each in self._hidden:
                    waiting += [each] if each not in self._passed else []
                    self._passed[each] = None
                elif each in self._probe.graph.tensors:
                    found[each] = None
        return list(found)

    def _compare(self, names: Sequence[str]) -> None:
        """Compares tensors, all at once; where that hides the fault one by one, and notes those that do."""
        unknown = [name for name in names if name not in self._rows and name not in self._hidden]
        for part in self._probe.chunks(unknown, AT_ONCE):
            if not self._look(part):
                for name in part:
                    if len(part) == 1 or not self._look([name]):
                        self._hidden[name] = None

    def _look(self, names: Sequence[str]) -> bool:
        """Gives the tensors out and notes their rows; False where nothing is wrong any more."""
        self._rounds += 1
        wanted = [*names, self._output]
        seen, expected = self._probe.on_gpu(names).arrays, self._probe.by_reference(self._reference, wanted)
        rows = {name: compare(name, self._reference, seen[name], expected[name], self._tolerance) for name in wanted}
        if all(row["ok"] for row in rows.values()):
            return False
        self._rows |= {name: rows[name] for name in names}
        return True

    def _divergence(self, name: str) -> Divergence:
        node, read = self._probe.graph.makers[name], self._read(name)
        row = serving(self._probe.compiled.artifact, node.id)
        return Divergence(
            node,
            self._rows[name],
            tuple(self._rows[each] for each in read if each in self._rows),
            tuple(self._passed),
            nodes_of(row) if row else (),
            row["kernel"] if row else "",
            _why_gone(self._probe.compiled.artifact, node.id),
            self._rounds,
            len(self._rows) - 1,
        )


def _why_gone(artifact: Artifact, node: str) -> str:
    """Where a node that no dispatch of a run serves went, as the artifact has it; empty for one that is run."""
    found = next((row for row in artifact.nodes if row["id"] == node), None)
    if found is None or found["where"] == "run":
        return ""
    return ": ".join(filter(None, (found["where"], found["reason"])))


def _ancestors(probe: Probe, output: str) -> list[str]:
    """The tensors that a graph output is made of and that can be compared, in program order, and it as the last."""
    makers = probe.graph.makers
    waiting, found = [output], {output}
    while waiting:
        node = makers.get(waiting.pop())
        new = [name for name in (node.inputs if node else ()) if name in makers and name not in found]
        found.update(new)
        waiting += new
    return [*(name for name in probe.graph.tensors if name in found and name != output), output]
