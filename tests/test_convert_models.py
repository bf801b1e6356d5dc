"""Tests that what the conversion makes of ONNX computes what onnxruntime computes: whole networks and single nodes."""

import time

import numpy as np
import onnxruntime
import pytest
from models import LIGHT, SMALL, Builder, before_softmax, light_network, mlp, one_node
from onnx import ModelProto, TensorProto
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from tstorch.diagnostics import DiagnosticError
from tstorch.dialects.onnx import plain
from tstorch.dialects.prim.reference import evaluate
from tstorch.dialects.prim.types import dtype_of
from tstorch.dialects.prim.weight import WeightOp
from tstorch.frontend import WeightStore, import_model
from tstorch.locations import carried_ids
from tstorch.pipeline import parse_passes, run_passes
from tstorch.registry import make_context
from tstorch.remarks import elided_nodes
from tstorch.verification import verify_module

PASSES = "convert-onnx-to-prim,fold-constants"
RNG = np.random.default_rng


def converted(model: ModelProto, store: WeightStore | None = None, dims=None) -> ModuleOp:
    module = import_model(model, dims, store)
    run_passes(module, parse_passes(PASSES), make_context(), verify_each=True)
    verify_module(module)
    return module


def main(module: ModuleOp) -> FuncOp:
    return next(op for op in module.ops if isinstance(op, FuncOp))


def drawn(module: ModuleOp, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs by the laws that the importer found."""
    rng, inputs = RNG(seed), {}
    for argument, facts in zip(main(module).args, main(module).arg_attrs or (), strict=True):
        law = {key: plain(value) for key, value in facts.data["tst.law"].data.items()}
        shape = argument.type.get_shape()
        values = {
            "normal": lambda shape=shape: rng.standard_normal(shape),
            "ones": lambda shape=shape: np.ones(shape),
            "int": lambda shape=shape, law=law: rng.integers(law["low"], law["high"], shape),
        }[law["kind"]]()
        inputs[plain(facts.data["tst.name"])] = np.asarray(values).astype(dtype_of(argument.type))
    return inputs


def ours(model: ModelProto, inputs: dict[str, np.ndarray] | None = None, dims=None):
    """Our outputs, and the inputs that they belong to."""
    store = WeightStore()
    module = converted(model, store, dims)
    inputs = inputs or drawn(module)

    def lookup(op):
        assert isinstance(op, WeightOp)
        return store.array(op.file.data, op.key.data, op.digest.data)

    return evaluate(main(module), list(inputs.values()), lookup), inputs, module


def theirs(model: ModelProto, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def assert_close(model: ModelProto, inputs: dict[str, np.ndarray] | None = None, tolerance: float = 1e-4) -> ModuleOp:
    actual, inputs, module = ours(model, inputs)
    for ours_is, theirs_is in zip(actual, theirs(model, inputs), strict=True):
        assert (ours_is.shape, ours_is.dtype) == (theirs_is.shape, theirs_is.dtype)
        scale = np.abs(theirs_is.astype(np.float64)).max(initial=1e-30)
        assert np.abs(ours_is.astype(np.float64) - theirs_is).max(initial=0) <= tolerance * scale
    return module


def assert_every_node_is_somewhere(model: ModelProto, module: ModuleOp) -> None:
    names = {entry["id"].data for entry in (each.data for each in module.attributes["tst.nodes"])}
    assert len(names) == len(model.graph.node)
    assert carried_ids(module) | elided_nodes(module).keys() == names
    assert not carried_ids(module) & elided_nodes(module).keys()


@pytest.mark.parametrize("name", SMALL)
def test_a_small_network_computes_what_onnxruntime_does(name):
    model = before_softmax(SMALL[name]())
    assert_every_node_is_somewhere(model, assert_close(model))


@pytest.mark.model
@pytest.mark.parametrize("name", LIGHT)
def test_a_network_of_the_onnx_package_computes_what_onnxruntime_does(name):
    model = before_softmax(light_network(name))
    assert_every_node_is_somewhere(model, assert_close(model))


def floats(*shape: int, low: float = -2, high: float = 2, seed: int = 0) -> np.ndarray:
    return RNG(seed).uniform(low, high, shape).astype(np.float32)


IMAGE = floats(2, 4, 7, 6)
BOTH = {"a": floats(2, 3, 4), "b": floats(3, 1, seed=1)}
INTEGERS = {"a": np.array([7, -7, 7, -7, 0]), "b": np.array([3, 3, -3, -3, 5])}
ZERO = np.array([0])
TIES = np.array([[1, 3, 3], [2, 0, 0]], np.float32)
BOOLS = {"a": np.array([[True, False]]), "b": np.array([[True], [False]])}

# operator, opset, inputs, attributes: each is compared with onnxruntime.
CASES = [
    *[(name, 13, {"x": floats(3, 4)}, {}) for name in (
        "Abs", "Atan", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "IsNaN", "Neg", "Reciprocal", "Relu", "Round",
        "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Tan", "Tanh",
    ) if name != "HardSwish"],
    *[(name, 13, {"x": floats(3, 4, low=0.1)}, {}) for name in ("Log", "Sqrt")],
    *[(name, 13, {"x": floats(3, 4, low=-0.9, high=0.9)}, {}) for name in ("Acos", "Asin", "Atanh")],
    *[(name, 13, BOTH, {}) for name in (
        "Add", "Sub", "Mul", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mean", "Sum")],
    *[(name, 16, BOTH, {}) for name in ("GreaterOrEqual", "LessOrEqual", "PRelu")],
    *[(name, 13, INTEGERS, {}) for name in ("Add", "Sub", "Mul", "Mod", "Max", "Min")],
    *[(name, 13, BOOLS, {}) for name in ("And", "Or", "Xor")],
    ("Not", 13, {"x": BOOLS["a"]}, {}),
    ("Mod", 13, {"a": floats(9), "b": floats(9, seed=1)}, {"fmod": 1}),
    ("HardSwish", 14, {"x": floats(9, low=-5, high=5)}, {}),
    ("HardSigmoid", 6, {"x": floats(9, low=-5, high=5)}, {"alpha": 0.3}),
    ("LeakyRelu", 6, {"x": floats(9)}, {"alpha": 0.1}),
    ("LeakyRelu", 16, {"x": floats(9)}, {}),
    ("Elu", 6, {"x": floats(9)}, {"alpha": 0.5}),
    ("Selu", 6, {"x": floats(9)}, {}),
    ("Celu", 12, {"x": floats(9)}, {"alpha": 0.5}),
    ("ThresholdedRelu", 10, {"x": floats(9)}, {"alpha": 0.5}),
    ("Shrink", 9, {"x": floats(9)}, {"lambd": 1.0, "bias": 0.5}),
    ("Gelu", 20, {"x": floats(9)}, {}),
    ("Gelu", 20, {"x": floats(9)}, {"approximate": "tanh"}),
    ("Clip", 6, {"x": floats(9)}, {"min": -1.0, "max": 0.5}),
    ("Clip", 13, {"x": floats(9), "": None, "_high": np.float32(0.5)}, {}),
    ("Clip", 13, {"x": np.arange(9), "_low": np.array(2)}, {}),
    ("Where", 9, {"c": np.array([True, False]), "a": floats(3, 2), "b": floats(1)}, {}),
    *[("Pow", 13, {"a": floats(9), "_e": np.float32(e)}, {}) for e in (1, 2, 3, 4, -1)],
    ("Pow", 13, {"a": floats(9, low=0.1), "b": floats(9)}, {}),
    ("Pow", 13, {"a": floats(9, low=0.1), "_e": np.array(3)}, {}),
    *[("Cast", 13, {"x": floats(9, low=-9, high=9)}, {"to": to}) for to in (TensorProto.INT32, TensorProto.BOOL)],
    ("Cast", 13, {"x": np.arange(-4, 5)}, {"to": TensorProto.FLOAT}),
    *[(name, version, {"x": floats(2, 3, 4)}, {"axis": axis})
      for name in ("Softmax", "LogSoftmax") for version in (11, 13) for axis in (0, 1, -1)],
    ("Hardmax", 13, {"x": np.array([[1, 3, 3], [2, 0, 1]], np.float32)}, {"axis": 1}),
    *[("MatMul", 13, {"a": floats(*a), "b": floats(*b, seed=1)}, {}) for a, b in (
        ((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((4,), (4, 5)),
        ((3, 4), (4,)), ((4,), (4,)), ((4,), (2, 4, 5)), ((2, 3, 4), (4,)))],
    *[("Gemm", version, {"a": floats(4, 3), "b": floats(5, 4), "c": floats(5)},
       {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}) for version in (7, 9, 13)],
    ("Gemm", 13, {"a": floats(3, 4), "b": floats(4, 5)}, {}),
    ("Conv", 11, {"x": IMAGE, "w": floats(6, 4, 3, 3), "b": floats(6)}, {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ("Conv", 11, {"x": IMAGE, "w": floats(6, 4, 3, 3)}, {"dilations": [2, 1], "auto_pad": "VALID"}),
    *[("Conv", 11, {"x": IMAGE, "w": floats(6, 4, 3, 2)}, {"auto_pad": mode, "strides": [2, 2]})
      for mode in ("SAME_UPPER", "SAME_LOWER")],
    ("Conv", 11, {"x": IMAGE, "w": floats(8, 2, 3, 3)}, {"group": 2}),
    ("Conv", 11, {"x": IMAGE, "w": floats(4, 1, 3, 3)}, {"group": 4, "pads": [1, 1, 1, 1]}),
    ("Conv", 11, {"x": floats(2, 3, 9), "w": floats(4, 3, 3)}, {"strides": [2]}),
    ("Conv", 11, {"x": floats(1, 2, 5, 4, 6), "w": floats(3, 2, 2, 3, 3)}, {}),
    ("ConvTranspose", 11, {"x": IMAGE, "w": floats(4, 3, 3, 3), "b": floats(3)},
     {"strides": [2, 3], "pads": [1, 0, 1, 2], "output_padding": [1, 2]}),
    ("ConvTranspose", 11, {"x": IMAGE, "w": floats(4, 3, 3, 2)}, {"group": 2, "dilations": [2, 1]}),
    *[("MaxPool", version, {"x": IMAGE}, {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]})
      for version in (8, 11, 12)],
    ("MaxPool", 12, {"x": IMAGE}, {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1, "dilations": [2, 1]}),
    *[("AveragePool", 11, {"x": IMAGE}, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1],
       "count_include_pad": count}) for count in (0, 1)],
    ("AveragePool", 11, {"x": IMAGE}, {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ("AveragePool", 19, {"x": IMAGE}, {"kernel_shape": [3, 3], "strides": [3, 2], "ceil_mode": 1}),
    *[(name, 11, {"x": IMAGE}, {}) for name in ("GlobalAveragePool", "GlobalMaxPool")],
    *[("BatchNormalization", version, {"x": IMAGE, **{key: floats(4, low=0.5) for key in "sbmv"}}, {"epsilon": 1e-3})
      for version in (7, 9, 14, 15)],
    ("LayerNormalization", 17, {"x": floats(2, 3, 4), "s": floats(3, 4), "b": floats(3, 4)}, {"axis": 1}),
    ("LayerNormalization", 17, {"x": floats(2, 3, 4), "s": floats(4)}, {"epsilon": 1e-2}),
    ("InstanceNormalization", 6, {"x": IMAGE, "s": floats(4), "b": floats(4)}, {}),
    ("GroupNormalization", 21, {"x": IMAGE, "s": floats(4), "b": floats(4)}, {"num_groups": 2}),
    ("LRN", 13, {"x": IMAGE}, {"size": 3, "alpha": 0.1, "beta": 0.5, "bias": 2.0}),
    ("LRN", 13, {"x": IMAGE}, {"size": 5}),
    ("LpNormalization", 1, {"x": floats(3, 4)}, {"axis": 0, "p": 1}),
    ("LpNormalization", 1, {"x": floats(3, 4)}, {}),
    ("MeanVarianceNormalization", 13, {"x": IMAGE}, {}),
    *[(name, 11, {"x": floats(2, 3, 4)}, {"axes": [0, -1], "keepdims": keep}) for keep in (0, 1) for name in (
        "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare")],
    *[(name, 18, {"x": floats(2, 3, 4), "_axes": np.array([1])}, {}) for name in (
        "ReduceMean", "ReduceSum", "ReduceMax")],
    ("ReduceMean", 18, {"x": floats(2, 3)}, {}),
    ("ReduceSum", 13, {"x": floats(2, 3)}, {"noop_with_empty_axes": 1}),
    ("ReduceLogSum", 11, {"x": floats(2, 3, low=0.1)}, {"axes": [1]}),
    *[(name, 13, {"x": TIES}, {"axis": 1, "select_last_index": last, "keepdims": last})
      for name in ("ArgMax", "ArgMin") for last in (0, 1)],
    ("Reshape", 14, {"x": floats(2, 3, 4), "_s": np.array([0, -1])}, {}),
    *[("Flatten", 13, {"x": floats(2, 3, 4)}, {"axis": axis}) for axis in (0, 1, 3, -1)],
    ("Transpose", 13, {"x": floats(2, 3, 4)}, {}),
    ("Transpose", 13, {"x": floats(2, 3, 4)}, {"perm": [1, 0, 2]}),
    ("Squeeze", 11, {"x": floats(1, 3, 1)}, {"axes": [-1]}),
    ("Squeeze", 13, {"x": floats(1, 3, 1), "_axes": np.array([0])}, {}),
    ("Squeeze", 13, {"x": floats(1, 3, 1)}, {}),
    ("Unsqueeze", 11, {"x": floats(2, 3)}, {"axes": [0, 3]}),
    ("Unsqueeze", 13, {"x": floats(2, 3), "_axes": np.array([-1, 1])}, {}),
    ("Concat", 13, {"a": floats(2, 3), "b": floats(2, 1)}, {"axis": -1}),
    ("Slice", 9, {"x": floats(5, 6)}, {"starts": [1, -4], "ends": [100, -1], "axes": [0, 1]}),
    ("Slice", 13, {"x": floats(5, 6), "_s": np.array([-1, 0]), "_e": np.array([-100, 5]), "_a": np.array([0, 1]),
                   "_p": np.array([-2, 2])}, {}),
    ("Slice", 13, {"x": floats(5, 6), "_s": np.array([3]), "_e": np.array([3])}, {}),
    ("Pad", 2, {"x": floats(2, 3)}, {"pads": [0, 1, 2, 0], "value": 5.0}),
    ("Pad", 13, {"x": floats(2, 3), "_p": np.array([0, 1, 2, -1]), "_v": np.float32(5)}, {}),
    *[("Pad", 13, {"x": floats(4, 5), "_p": np.array([1, 2, 2, 3])}, {"mode": mode}) for mode in ("edge", "reflect")],
    ("Pad", 18, {"x": floats(4, 5), "_p": np.array([1, 2]), "": None, "_a": np.array([1])}, {"mode": "edge"}),
    ("Pad", 19, {"x": floats(4, 5), "_p": np.array([1, 2, 2, 3])}, {"mode": "wrap"}),
    ("Expand", 13, {"x": floats(3, 1), "_s": np.array([2, 1, 4])}, {}),
    ("Tile", 13, {"x": floats(2, 3), "_r": np.array([2, 2])}, {}),
    *[("DepthToSpace", 13, {"x": floats(1, 8, 2, 3)}, {"blocksize": 2, "mode": mode}) for mode in ("DCR", "CRD")],
    ("SpaceToDepth", 13, {"x": floats(1, 2, 4, 6)}, {"blocksize": 2}),
    *[("Trilu", 14, {"x": floats(2, 4, 4), "_k": np.array(1)}, {"upper": upper}) for upper in (0, 1)],
    *[("Gather", 13, {"x": floats(3, 4, 5), "i": np.array([[0, -1], [2, 1]])}, {"axis": axis}) for axis in (0, 1, -1)],
    ("Gather", 13, {"x": floats(3, 4, 5), "_i": np.array(-1)}, {"axis": 1}),
    ("Gather", 13, {"x": floats(3, 4, 5), "_i": np.array([1, 2])}, {"axis": 1}),
    ("Shape", 15, {"x": floats(3, 4, 5)}, {"start": -2}),
    ("Size", 13, {"x": floats(3, 4, 5)}, {}),
    ("ConstantOfShape", 9, {"_s": np.array([2, 3])}, {}),
    ("Range", 11, {"_a": np.array(2), "_b": np.array(11), "_c": np.array(3)}, {}),
    ("EyeLike", 9, {"x": floats(3, 4)}, {"k": 1, "dtype": TensorProto.INT64}),
    ("OneHot", 11, {"i": np.array([[0, 2], [-1, 1]]), "_d": np.array(3), "_v": np.array([2, 5])}, {"axis": 1}),
    ("IsInf", 10, {"x": np.array([1, np.inf, -np.inf, np.nan], np.float32)}, {"detect_negative": 0}),
    ("BitShift", 11, {"a": np.array([1, 16], np.uint8), "b": np.array([3, 2], np.uint8)}, {"direction": "LEFT"}),
    ("Identity", 13, {"x": floats(3)}, {}),
    ("Dropout", 13, {"x": floats(3)}, {}),
]  # fmt: skip


def case_name(case) -> str:
    op_type, opset, _, attributes = case
    return "-".join([f"{op_type}_{opset}", *(f"{key}={value}" for key, value in attributes.items())])


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_a_node_computes_what_onnxruntime_does(case):
    op_type, opset, inputs, attributes = case
    given = {name: array for name, array in inputs.items() if name and name[0] != "_"}
    stored = {name: np.zeros(0) if array is None else array for name, array in inputs.items()}
    assert_close(one_node(op_type, stored, opset, **attributes), given)


@pytest.mark.parametrize(
    ("sizes", "opset", "attributes"),
    [([2, 1], 13, {}), (None, 13, {}), (None, 18, {"num_outputs": 2}), (None, 11, {"split": [1, 2]})],
)
def test_a_split_gives_all_its_parts(sizes, opset, attributes):
    inputs = {"x": floats(2, 4 if sizes is None and "split" not in attributes else 3)}
    stored = {} if sizes is None else {"_sizes": np.array(sizes)}
    assert_close(one_node("Split", inputs | stored, opset, outputs=2, axis=1, **attributes), inputs)


def test_layer_norm_gives_its_mean_and_its_deviation():
    inputs = {"x": floats(2, 3, 4), "s": floats(4), "b": floats(4)}
    assert_close(one_node("LayerNormalization", inputs, 17, outputs=3), inputs)


def test_a_shape_that_follows_from_shapes_is_folded_away():
    build = Builder()
    shape = build.node("Shape", "x")
    first = build.node("Gather", shape, build.constant("zero", np.array(0)), axis=0)
    first = build.node("Unsqueeze", first, build.constant("axes", np.array([0])))
    wanted = build.node("Concat", first, build.constant("rest", np.array([-1])), axis=0)
    result = build.node("Reshape", "x", wanted)
    model = build.model({"x": (TensorProto.FLOAT, [2, 3, 4])}, {result: (TensorProto.FLOAT, [2, 12])})
    module = assert_close(model)
    assert [op.name for op in main(module).body.block.ops] == ["prim.reshape", "func.return"]
    assert_every_node_is_somewhere(model, module)


def test_nodes_that_do_nothing_are_elided_with_the_reason():
    build = Builder()
    x = build.node("Identity", build.node("Dropout", "x", name="drop"), name="same")
    model = build.model({"x": (TensorProto.FLOAT, [2])}, {build.node("Relu", x, name="relu"): (TensorProto.FLOAT, [2])})
    reason = "identity: its result is its input"
    assert elided_nodes(assert_close(model)) == {"drop": reason, "same": reason}


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes", "message"),
    [
        ("Softmax", {"x": floats(2, 3)}, {"axis": 5}, r"axis 5 of a tensor of rank 2; expected -2 to 1"),
        ("Reshape", {"x": floats(2, 3), "_s": np.array([4])}, {}, r"cannot make shape \[4\]"),
        ("Add", {"a": floats(2, 3), "b": floats(4)}, {}, r"shapes \[2, 3\] and \[4\] do not broadcast"),
        ("Conv", {"x": floats(1, 3, 4, 4), "w": floats(2, 2, 3, 3)}, {}, "onnx 'n'"),
        ("Conv", {"x": IMAGE, "w": floats(2, 4, 3, 3)}, {"strides": [0, 1]}, r"strides \(0, 1\)"),
        ("Conv", {"x": IMAGE, "w": floats(2, 4, 3, 3)}, {"pads": [1]}, "pads has 1 entries; expected 4"),
        ("MaxPool", {"x": IMAGE}, {"kernel_shape": [2, 2], "auto_pad": "ALL"}, "auto_pad is ALL; expected NOTSET"),
        ("Slice", {"x": floats(3), "_s": ZERO, "_e": ZERO + 2, "_a": ZERO, "_p": ZERO}, {}, "a step of 0"),
        ("Transpose", {"x": floats(2, 3)}, {"perm": [0, 0]}, "is no permutation"),
        ("Tile", {"x": floats(2), "_r": np.array([1, 2])}, {}, "2 repeats of a tensor of rank 1"),
        ("Cast", {"x": floats(2)}, {"to": TensorProto.STRING}, "no element type"),
    ],
)  # fmt: skip
def test_a_node_that_breaks_its_operators_rules_is_named(op_type, inputs, attributes, message):
    with pytest.raises(DiagnosticError, match=message) as caught:
        converted(one_node(op_type, inputs, 17, **attributes))
    assert str(caught.value).startswith(f"onnx 'n' ({op_type}, opset 17): ")


def test_an_inputs_shape_decides_all_others():
    outputs, _, module = ours(mlp(), dims={"batch": 5})
    assert outputs[0].shape == (5, 10)
    assert main(module).res_attrs.data[0].data["tst.name"] == StringAttr("softmax_out")


def test_import_and_conversion_take_time_in_proportion_to_the_nodes():
    def seconds(count: int) -> float:
        build, x = Builder(), "x"
        for at in range(count):
            x = build.node(("Relu", "Neg", "Exp")[at % 3], x) if at % 2 else build.node("Add", x, "x")
        model = build.model({"x": (TensorProto.FLOAT, [2, 3])}, {x: (TensorProto.FLOAT, [2, 3])})
        start = time.process_time()
        converted(model)
        return time.process_time() - start

    assert seconds(4000) < 12 * seconds(1000)
