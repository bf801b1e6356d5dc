"""The backend suite inside the installed onnx package: its tests by name, and those that no GPU backend can pass."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper
from onnx.backend.test.loader import DATA_DIR, load_model_tests
from onnx.backend.test.runner import Runner

HERE = Path(__file__).parent
FOLDERS = ("simple", "pytorch-converted", "pytorch-operator")
Arrays = Sequence[Any]


@dataclass(frozen=True)
class Case:
    """One test: a model, and for each run its inputs and outputs, in the graph's order."""

    name: str
    model: ModelProto
    runs: Sequence[tuple[Arrays, Arrays]]
    rtol: float
    atol: float

    @property
    def operator(self) -> str:
        """The operator that a test of one node is about; a model's name where it has several."""
        kinds = [node.op_type for node in self.model.graph.node if node.op_type != "Constant"]
        return kinds[0] if len(set(kinds)) == 1 else "(model)" if kinds else "Constant"

    @property
    def version(self) -> int:
        """The opset version since which that operator has been what it is; 0 for a model."""
        opsets = {entry.domain: entry.version for entry in self.model.opset_import}
        node = next((node for node in self.model.graph.node if node.op_type == self.operator), None)
        if node is None or not onnx.defs.has(node.op_type, node.domain):
            return 0
        return onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain).since_version

    @property
    def types(self) -> list[str]:
        """The element types of inputs and outputs, each once."""
        arrays = [value for run in self.runs for values in run for value in values]
        return sorted({str(value.dtype) for value in arrays if hasattr(value, "dtype")})


@cache
def all_cases() -> Mapping[str, Case]:
    """Every test of the suite as `kind/name`: a name alone is not unique."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx computes expected values of edge cases, and says so
        found = [*_node_cases(), *_folder_cases(), *_real_cases()]
    return {case.name: case for case in found}


@cache
def excluded() -> Mapping[str, str]:
    """The tests that a GPU without float64, strings, sequences and random numbers cannot pass, each with the reason."""
    return dict(_lines("excluded.txt"))


@cache
def quick_slice() -> Sequence[str]:
    """The tests that CI runs: a few of every operator, all element types among them."""
    return [name for name, _ in _lines("slice.txt")]


def _lines(file: str) -> Iterator[tuple[str, str]]:
    for line in (HERE / file).read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def _node_cases() -> Iterator[Case]:
    for test in load_model_tests(kind="node"):
        runs = [tuple([_array(value) for value in values] for values in run) for run in test.data_sets]
        yield Case(f"node/{test.name}", test.model, runs, test.rtol, test.atol)


def _folder_cases() -> Iterator[Case]:
    for kind in FOLDERS:
        for test in load_model_tests(kind=kind):
            model = onnx.load(Path(test.model_dir) / "model.onnx")
            folders = sorted(glob.glob(str(Path(test.model_dir) / "test_data_set*")))
            sides = (("input", model.graph.input), ("output", model.graph.output))
            runs = [tuple(_stored(Path(at), side, values) for side, values in sides) for at in folders]
            yield Case(f"{kind}/{test.name}", model, runs, test.rtol, test.atol)


def _real_cases() -> Iterator[Case]:
    """The large models; their inputs are made up by onnx, their outputs lie beside them."""
    root = Path(DATA_DIR).parents[3]
    for test in load_model_tests(kind="real"):
        path = root / test.url
        model = onnx.load(path)
        held = {tensor.name for tensor in model.graph.initializer}
        inputs = [
            Runner.generate_dummy_data(value, seed=0, name=test.name, random=False)
            for value in model.graph.input
            if value.name not in held
        ]
        outputs = [_read(path.with_name(f"{path.stem}_output_{i}.pb")) for i in range(len(model.graph.output))]
        yield Case(f"real/{test.name}", model, [(inputs, outputs)], test.rtol, test.atol)


def _array(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_array(each) for each in value]
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _stored(folder: Path, side: str, values: Sequence[Any]) -> list[Any]:
    count = len(glob.glob(str(folder / f"{side}_*.pb")))
    return [_read(folder / f"{side}_{i}.pb", values[i]) for i in range(count)]


def _read(path: Path, value: Any = None) -> Any:
    data = path.read_bytes()
    if value is not None and value.type.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if value is not None and value.type.HasField("optional_type"):
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(TensorProto.FromString(data))
