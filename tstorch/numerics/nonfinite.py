"""The first node that makes a NaN or an infinity, in program order and on the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tstorch.dialects.prim.stored import numbers_of
from tstorch.frontend.graph import GraphNode
from tstorch.numerics.probe import Probe, Seen
from tstorch.numerics.unfused import Unfused, nodes_of, serving, unfused
from tstorch.session import Model

MOST_AT_ONCE = 64
"""Tensors given out by one compilation; their bytes are bounded too (`MOST_BYTES`)."""


@dataclass(frozen=True)
class State:
    """How many elements of a tensor are NaN, and how many infinite."""

    nans: int
    infinities: int

    def __str__(self) -> str:
        counts = [(self.nans, "NaN"), (self.infinities, "infinite")]
        return " and ".join(f"{count} {what}" for count, what in counts if count) or "all finite"


FINITE = State(0, 0)


@dataclass(frozen=True)
class Maker:
    """A node whose `tensor` holds what none of the tensors that it reads does. `inputs` are those and their states.

    `fused` are the nodes that its dispatch serves when nothing is given out, `unfused` what was taken apart to see it.
    `has_body` says that the node runs subgraphs, which are not looked into.
    """

    node: GraphNode
    tensor: str
    state: State
    elements: int
    inputs: dict[str, State]
    fused: tuple[str, ...]
    unfused: tuple[Unfused, ...]
    has_body: bool = False

    def __str__(self) -> str:
        """The finding in a few lines."""
        read = ", ".join(f"'{name}' {state}" for name, state in self.inputs.items()) or "nothing"
        lines = [f"{self.node} makes '{self.tensor}', of whose {self.elements} elements {self.state}; it reads {read}"]
        if len(self.fused) > 1:
            lines.append(f"it runs in the fused dispatch of {' + '.join(self.fused)}")
        if self.has_body:
            lines.append("it has a body, which is not looked into: some node in there makes it")
        return "\n".join(lines)


@dataclass(frozen=True)
class Hunt:
    """What a hunt found: the first maker, or None; how many tensors were looked at, in how many runs."""

    maker: Maker | None
    tensors: int
    runs: int


def hunt(model: Model, inputs: Mapping[str, np.ndarray]) -> Hunt:
    """Finds the first node, in program order, that makes a NaN where it reads none, or an infinity of finite numbers.

    All tensors of floats are looked at in that order, some of them at a time: their bytes are bounded by `MOST_BYTES`.
    Constant infinities, as masks hold them, are no finding, nor is what copies them on. What happens in a fused kernel
    is seen as its nodes are given out one by one. Raises DiagnosticError for a model read from an artifact.
    """
    return _Hunter(Probe(model, inputs), inputs).hunt()


class _Hunter:
    def __init__(self, probe: Probe, inputs: Mapping[str, np.ndarray]) -> None:
        self._probe = probe
        self._states = {name: state_of(array) for name, array in inputs.items() if _holds_floats(array)}

    def hunt(self) -> Hunt:
        looked = 0
        for runs, part in enumerate(self._probe.chunks(self._probe.floats, MOST_AT_ONCE), 1):
            seen = self._probe.on_gpu(part)
            for name in part:
                looked += 1
                if maker := self._look(name, seen):
                    return Hunt(maker, looked, runs)
        return Hunt(None, looked, -(-looked // MOST_AT_ONCE))

    def _look(self, name: str, seen: Seen) -> Maker | None:
        """The tensor's maker, where that makes something not finite of what is."""
        array, node = seen.arrays[name], self._probe.graph.makers[name]
        if not _holds_floats(array):
            return None
        state = self._states[name] = state_of(array)
        if state == FINITE or not self._makes(state, read := self._read(node)):
            return None
        return self._maker(node, name, array.size, read, seen)

    def _makes(self, state: State, read: Mapping[str, State]) -> bool:
        """Whether a tensor holds what none that its node reads does; without floats to read, it is a constant's."""
        if state.nans:
            return not any(other.nans for other in read.values())
        return bool(read) and all(other == FINITE for other in read.values())

    def _read(self, node: GraphNode) -> dict[str, State]:
        """The states of what a node reads and that holds floats."""
        states = {name: self._state(name) for name in node.inputs}
        return {name: state for name, state in states.items() if state is not None}

    def _state(self, name: str) -> State | None:
        if name not in self._states and name in self._probe.graph.initializers:
            array = self._probe.graph.initializer(name)
            if _holds_floats(array):
                self._states[name] = state_of(array)
        return self._states.get(name)

    def _maker(self, node: GraphNode, name: str, elements: int, read: dict[str, State], seen: Seen) -> Maker:
        whole = self._probe.compiled.artifact
        row = serving(whole, node.id)
        apart = [each for each in unfused(whole, seen.artifact) if node.id in each.nodes]
        has_body = node.id in self._probe.graph.inside.values()
        return Maker(
            node, name, self._states[name], elements, read, nodes_of(row) if row else (), tuple(apart), has_body
        )


def state_of(array: np.ndarray) -> State:
    """Counts what is not finite."""
    numbers = numbers_of(array)
    return State(int(np.isnan(numbers).sum()), int(np.isinf(numbers).sum()))


def _holds_floats(array: np.ndarray) -> bool:
    return array.dtype.kind not in "iub"
