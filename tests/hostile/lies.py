"""Models that lie: each breaks one rule, at a node called `bad` where a node is to blame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
HUGE = 1 << 40
Weights = Mapping[str, Any]


def node(
    op_type: str, *inputs: str, outputs: Sequence[str] = ("y",), name: str = "bad", **attributes: Any
) -> NodeProto:
    """The node to blame."""
    return helper.make_node(op_type, inputs, outputs, name=name, **attributes)


def model(
    nodes: Sequence[NodeProto],
    weights: Weights | None = None,
    shape: Sequence[Any] = (2, 3),
    element: int = FLOAT,
    opset: int = 18,
) -> ModelProto:
    """A model of input x and output y."""
    stored = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
        for name, value in (weights or {}).items()
    ]
    given = [helper.make_tensor_value_info("x", element, shape)]
    made = [helper.make_tensor_value_info("y", 0, None)]
    made[0].ClearField("type")
    graph = helper.make_graph(nodes, "hostile", given, made, initializer=stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def one(op_type: str, *inputs: str, weights: Weights | None = None, **rest: Any) -> ModelProto:
    """A model of one bad node; keywords that `model` takes go there, all others are attributes."""
    known = {key: rest.pop(key) for key in ("shape", "element", "opset") if key in rest}
    return model([node(op_type, *(inputs or ("x",)), **rest)], weights, **known)


def tensor(name: str, dims: Sequence[int], raw: bytes = b"", element: int = FLOAT, **fields: Any) -> TensorProto:
    """A stored tensor that need not be what it says."""
    proto = TensorProto(name=name, dims=dims, data_type=element, **fields)
    if raw or not fields:
        proto.raw_data = raw
    return proto


def attributes() -> Iterator[tuple[str, ModelProto]]:
    """Attributes and settings out of range, of another type, or absent."""
    image = {"shape": (1, 4, 6, 6)}
    weight = {"w": np.ones((4, 4, 3, 3), np.float32)}
    conv = {
        "kernel": {"kernel_shape": [0, 3]}, "kernel_minus": {"kernel_shape": [-3, 3]},
        "kernel_other": {"kernel_shape": [5, 5]}, "strides": {"strides": [0, 1]}, "strides_minus": {"strides": [-1, 1]},
        "dilations": {"dilations": [0, 0]}, "pads": {"pads": [HUGE] * 4}, "pads_minus": {"pads": [-9] * 4},
        "pads_few": {"pads": [1]}, "group_0": {"group": 0}, "group_7": {"group": 7}, "group_minus": {"group": -1},
        "auto_pad": {"auto_pad": "SOMEHOW"},
    }  # fmt: skip
    for name, given in conv.items():
        yield f"conv_{name}", one("Conv", "x", "w", weights=weight, **image, **given)
    pool = {
        "kernel": {"kernel_shape": [0, 0]}, "none": {}, "strides": {"kernel_shape": [2, 2], "strides": [0, 0]},
        "large": {"kernel_shape": [99, 99]}, "rank": {"kernel_shape": [2]}, "huge": {"kernel_shape": [HUGE, HUGE]},
    }  # fmt: skip
    for name, given in pool.items():
        yield f"pool_{name}", one("MaxPool", **image, **given)
    axes = ("Softmax", "Concat", "Flatten", "Split", "LayerNormalization", "ArgMax", "Hardmax", "LpNormalization")
    for op_type in axes:
        more = {"weights": {"s": np.ones(3, np.float32)}} if op_type == "LayerNormalization" else {}
        yield f"axis_{op_type}", one(op_type, *(("x", "s") if more else ()), axis=99, **more)
    yield "perm_twice", one("Transpose", perm=[0, 0])
    yield "perm_short", one("Transpose", perm=[0])
    yield "perm_minus", one("Transpose", perm=[-1, 0])
    yield "axis_missing", one("Concat", "x", "x")
    yield "axis_text", one("Softmax", axis="one")
    yield "axis_list", one("Softmax", axis=[0, 1])
    yield "axis_float", one("Softmax", axis=1.5)
    yield "unknown_attribute", one("Relu", speed=9)
    yield "to_unknown", one("Cast", to=99)
    yield "to_missing", one("Cast")
    yield "block_0", one("DepthToSpace", blocksize=0, **image)
    yield "block_5", one("SpaceToDepth", blocksize=5, **image)
    yield "mode", one("Pad", "x", "p", weights={"p": np.array([0, 0, 1, 1])}, mode="sideways")
    yield "direction", one("BitShift", "x", "x", direction="UP", element=TensorProto.UINT8)
    yield "equation", one("Einsum", "x", equation="ij->kk")
    yield "equation_long", one("Einsum", "x", equation="i" * 5000)
    yield "equation_empty", one("Einsum", "x", equation="")
    yield "nan_alpha", one("ThresholdedRelu", alpha=float("nan"))
    scales = {"s": np.ones(4, np.float32)}
    yield "nan_epsilon", one("InstanceNormalization", "x", "s", "s", weights=scales, epsilon=float("nan"), **image)
    yield "nan_scale", one("Resize", "x", "", "f", weights={"f": np.array([np.nan, 1], np.float32)})
    yield "reference_attribute", _refers()
    yield "attribute_of_no_type", _typeless()


def _refers() -> ModelProto:
    """An attribute that refers to one of a function where there is no function."""
    made = one("Softmax")
    made.graph.node[0].attribute.append(AttributeProto(name="axis", ref_attr_name="a", type=AttributeProto.INT))
    return made


def _typeless() -> ModelProto:
    made = one("Softmax")
    made.graph.node[0].attribute.append(AttributeProto(name="axis", i=1))
    return made


def settings() -> Iterator[tuple[str, ModelProto]]:
    """Stored values that decide shapes, and do not fit."""
    ints = {
        "reshape_product": ("Reshape", [7, 7]), "reshape_two_open": ("Reshape", [-1, -1]),
        "reshape_minus_2": ("Reshape", [-2, 3]), "reshape_huge": ("Reshape", [HUGE, HUGE]),
        "reshape_zero": ("Reshape", [0, 0, 0]), "expand_other": ("Expand", [5, 5]),
        "expand_huge": ("Expand", [HUGE, 2, 3]), "expand_minus": ("Expand", [-3, 2, 3]),
        "tile_huge": ("Tile", [HUGE, 1]), "tile_few": ("Tile", [2]), "tile_minus": ("Tile", [-1, 1]),
        "pad_few": ("Pad", [1]), "pad_huge": ("Pad", [0, 0, 0, HUGE]), "pad_crop": ("Pad", [0, 0, 0, -9]),
        "topk": ("TopK", [99]), "topk_minus": ("TopK", [-1]), "split": ("Split", [1, 5]), "squeeze": ("Squeeze", [0]),
        "unsqueeze": ("Unsqueeze", [9]), "unsqueeze_twice": ("Unsqueeze", [1, 1]), "reduce": ("ReduceSum", [7]),
        "reduce_twice": ("ReduceSum", [1, 1]), "cumsum": ("CumSum", [5]), "trilu": ("Trilu", [HUGE]),
        "gather": ("Gather", [2, 99]), "gather_huge": ("Gather", [HUGE]), "gather_minus": ("Gather", [-99]),
    }  # fmt: skip
    for name, (op_type, values) in ints.items():
        scalar = op_type in ("CumSum", "Trilu")
        made = np.array(values[0] if scalar else values, np.int64)
        outputs = ("y", "z") if op_type in ("TopK", "Split") else ("y",)
        yield name, one(op_type, "x", "v", weights={"v": made}, outputs=outputs)
    yield "constant_huge", one("ConstantOfShape", "v", weights={"v": np.array([HUGE, HUGE])})
    yield "constant_minus", one("ConstantOfShape", "v", weights={"v": np.array([-1])})
    yield "constant_of_gigabytes", one("ConstantOfShape", "v", weights={"v": np.array([1 << 34])})
    yield "slice_step_0", one("Slice", "x", "a", "b", "c", "d", weights=_ints(a=[0], b=[2], c=[0], d=[0]))
    yield "slice_axes", one("Slice", "x", "a", "b", "c", weights=_ints(a=[0], b=[2], c=[8]))
    yield "slice_lengths", one("Slice", "x", "a", "b", weights=_ints(a=[0, 0, 0], b=[2]))
    yield "range_huge", one("Range", "a", "b", "c", weights=_numbers(a=0, b=1e12, c=1))
    yield "range_step_0", one("Range", "a", "b", "c", weights=_numbers(a=0, b=5, c=0))
    yield "range_nan", one("Range", "a", "b", "c", weights=_numbers(a=0, b=np.nan, c=1))
    yield "one_hot_huge", one("OneHot", "i", "d", "v", weights=_ints(i=[0, 1], d=HUGE) | _numbers(v=[0, 1]))
    yield "one_hot_minus", one("OneHot", "i", "d", "v", weights=_ints(i=[0, 1], d=-4) | _numbers(v=[0, 1]))
    yield "resize_huge", one("Resize", "x", "", "f", weights=_numbers(f=[1e9, 1e9]))
    yield "resize_minus", one("Resize", "x", "", "f", weights=_numbers(f=[-1, 1]))
    yield "resize_few", one("Resize", "x", "", "f", weights=_numbers(f=[2]))
    yield "int64_sum", one("Gather", "t", "i", weights=_numbers(t=[1, 2]) | _ints(i=[(1 << 62)]))


def _ints(**values: Any) -> dict[str, np.ndarray]:
    return {name: np.array(value, np.int64) for name, value in values.items()}


def _numbers(**values: Any) -> dict[str, np.ndarray]:
    return {name: np.array(value, np.float32) for name, value in values.items()}


def wiring() -> Iterator[tuple[str, ModelProto]]:
    """Graphs that are none: cycles, names without a value, values of two definitions, numbers of operands."""
    yield "cycle_of_one", one("Relu", "y")
    two = [node("Relu", "b", outputs=["a"]), node("Relu", "a", outputs=["b"], name="two"), node("Neg", "a", name="z")]
    yield "cycle_of_two", model(two)
    yield "undefined", one("Add", "x", "ghost")
    yield "undefined_output", model([node("Relu", "x", outputs=["z"])])
    yield "defined_twice", model([node("Relu", "x", name="first"), node("Neg", "x")])
    yield "defined_as_input", model([node("Relu", "x", outputs=["x"])])
    yield "defined_as_weight", model([node("Relu", "x", outputs=["w"])], _numbers(w=[1]))
    yield "no_operands", model([helper.make_node("Add", [], ["y"], name="bad")])
    yield "one_operand", one("Add", "x")
    yield "three_operands", one("Add", "x", "x", "x")
    yield "empty_operand", one("Add", "x", "")
    yield "two_results", one("Relu", "x", outputs=["y", "z"])
    yield "no_results", model([helper.make_node("Relu", ["x"], [], name="bad")])
    yield "many_operands", model([node("Concat", *["x"] * 2_000, axis=0)])
    yield "shapes_apart", one("Add", "x", "w", weights={"w": np.ones((5, 7), np.float32)})
    yield "types_apart", one("Add", "x", "w", weights={"w": np.ones((2, 3), np.int64)})
    yield "matmul_apart", one("MatMul", "x", "w", weights={"w": np.ones((5, 7), np.float32)})
    yield "gemm_rank", one("Gemm", "x", "w", weights={"w": np.ones((3, 3, 3), np.float32)})
    yield "concat_apart", one("Concat", "x", "w", weights={"w": np.ones((5, 7), np.float32)}, axis=0)
    yield "where_type", one("Where", "x", "x", "x")
    yield "bool_sum", one("Add", "x", "x", element=TensorProto.BOOL)
    yield "string_input", one("Identity", element=TensorProto.STRING)
    yield "double_input", one("Relu", element=TensorProto.DOUBLE)
    yield "complex_input", one("Identity", element=TensorProto.COMPLEX64)
    yield "element_99", one("Relu", element=99)
    yield "size_minus", one("Relu", shape=(-5, 3))
    yield "size_huge", one("Relu", shape=(1 << 62, 1 << 62))
    yield "size_of_terabytes", one("Relu", shape=(1 << 20, 1 << 20))
    yield "size_open", one("Relu", shape=("n", 3))
    yield "rank_70", one("Relu", shape=(1,) * 70)
    for name, change in _STATED.items():
        made = model([node("Relu", "x")])
        made.graph.output[0].CopyFrom(change)
        yield f"stated_{name}", made


_STATED = {
    "type": helper.make_tensor_value_info("y", INT64, [2, 3]),
    "rank": helper.make_tensor_value_info("y", FLOAT, [2, 3, 1]),
    "sizes": helper.make_tensor_value_info("y", FLOAT, [3, 2]),
    "sequence": helper.make_tensor_sequence_value_info("y", FLOAT, [2, 3]),
}


def tensors() -> Iterator[tuple[str, ModelProto]]:
    """Stored tensors whose bytes are not what shape and type need."""
    made = {
        "short": tensor("w", [2, 3], b"\0" * 5), "long": tensor("w", [2, 3], b"\0" * 100),
        "empty": tensor("w", [2, 3]), "huge": tensor("w", [1 << 31, 1 << 31]),
        "minus": tensor("w", [-2, -3], b"\0" * 24), "overflow": tensor("w", [1 << 62, 4]),
        "gigabytes": tensor("w", [1 << 33], float_data=[1.0]), "list_short": tensor("w", [2, 3], float_data=[1.0]),
        "list_long": tensor("w", [2], float_data=[1.0] * 9), "list_other": tensor("w", [2, 3], int32_data=[1] * 6),
        "element_0": tensor("w", [2, 3], b"\0" * 24, 0), "element_99": tensor("w", [2, 3], b"\0" * 24, 99),
        "strings": tensor("w", [1], element=TensorProto.STRING, string_data=[b"a"]),
        "int4_short": tensor("w", [9], b"\0", TensorProto.INT4),
        "both": tensor("w", [1], b"\0" * 4, float_data=[1.0]),
    }  # fmt: skip
    for name, proto in made.items():
        yield f"tensor_{name}", one("Add", "x", "w", weights={"w": proto})
        attribute = TensorProto()
        attribute.CopyFrom(proto)
        yield f"constant_{name}", model([node("Constant", value=attribute)])
    twice = one("Add", "x", "w", weights=_numbers(w=[1]))
    twice.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "w"))
    yield "tensor_twice", twice


def frames() -> Iterator[tuple[str, ModelProto]]:
    """What stands around nodes: versions, domains, names, notes."""
    for name, opset in {"0": 0, "minus": -1, "future": 9999, "huge": 1 << 62}.items():
        yield f"opset_{name}", one("Relu", opset=opset)
    none = one("Relu")
    del none.opset_import[:]
    yield "opset_none", none
    yield "unknown_operator", one("Frobnicate")
    yield "empty_operator", one("")
    yield "unknown_domain", one("Relu", domain="org.nobody")
    for name, text in {
        "long": "n" * 1_000_000,
        "null": "a\0b",
        "lines": "a\nerror: b\n",
        "colours": "\x1b[31mred",
    }.items():
        yield f"name_{name}", model([node("Add", "x", "ghost", name=text)])
    noted = one("Add", "x", "ghost")
    noted.graph.node[0].metadata_props.add(key="pkg.torch.onnx.name_scopes", value="[" * 100_000)
    yield "notes_deep", noted
    for name, version in {"0": 0, "future": 1 << 40}.items():
        made = one("Add", "x", "ghost")
        made.ir_version = version
        yield f"ir_{name}", made


def _graph(nodes: Sequence[NodeProto], outputs: Sequence[str], inputs: Sequence[Any] = ()) -> GraphProto:
    made = [helper.make_tensor_value_info(name, FLOAT, [2, 3]) for name in outputs]
    return helper.make_graph(nodes, "inner", inputs, made)


def subgraphs() -> Iterator[tuple[str, ModelProto]]:
    """Bodies that do not fit, never end, or go on and on."""
    condition = {"c": np.array(True)}
    fine = _graph([node("Relu", "x", outputs=["t"], name="inner")], ["t"])
    yield "if_outputs", model([node("If", "c", then_branch=fine, else_branch=_graph([], []))], condition)
    yield "if_missing", model([node("If", "c", then_branch=fine)], condition)
    ghost = _graph([node("Relu", "ghost", outputs=["t"])], ["t"])
    yield "if_undefined", model([node("If", "c", then_branch=ghost, else_branch=ghost, name="if")], condition)
    yield "if_type", model([node("If", "x", then_branch=fine, else_branch=fine)])
    yield "if_result", model([node("If", "c", then_branch=_graph([], ["ghost"]), else_branch=fine)], condition)
    for name, trips in {"forever": 1 << 62, "long": 1_000_000_000, "minus": -1}.items():
        yield f"loop_{name}", _loop(trips)
    bare = model([node("Loop", "m", "", "x", body=_graph([], []))], _ints(m=3))
    yield "loop_empty_body", bare
    deep = fine
    for level in range(20):
        deep = _graph([node("If", "c", outputs=["t"], name=f"if{level}", then_branch=deep, else_branch=ghost)], ["t"])
    yield "if_deep", model([node("If", "c", then_branch=deep, else_branch=ghost)], condition)


def _loop(trips: int) -> ModelProto:
    """A loop that a compiler must not unroll."""
    inputs = [
        helper.make_tensor_value_info("i", INT64, []),
        helper.make_tensor_value_info("going", TensorProto.BOOL, []),
        helper.make_tensor_value_info("v", FLOAT, [2, 3]),
    ]
    body = [node("Identity", "going", outputs=["on"], name="on"), node("Relu", "v", outputs=["w"], name="w")]
    outputs = [
        helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        helper.make_tensor_value_info("w", FLOAT, [2, 3]),
    ]
    return model([node("Loop", "m", "", "x", body=helper.make_graph(body, "body", inputs, outputs))], _ints(m=trips))


def functions() -> Iterator[tuple[str, ModelProto]]:
    """Functions that call themselves, each other, or twice what calls twice."""
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]

    def calling(name: str, *called: str) -> Any:
        names = ["x", *(f"v{at}" for at in range(len(called)))]
        nodes = [
            helper.make_node(op, [names[at]], [names[at + 1]], name=f"{op}{at}", domain="own" if op[0] == "F" else "")
            for at, op in enumerate(called)
        ]
        return helper.make_function("own", name, ["x"], [names[-1]], nodes, imports)

    def with_functions(*made: Any) -> ModelProto:
        whole = model([helper.make_node("F0", ["x"], ["y"], name="bad", domain="own")])
        whole.opset_import.append(imports[1])
        whole.functions.extend(made)
        return whole

    yield "function_itself", with_functions(calling("F0", "F0"))
    yield "function_each_other", with_functions(calling("F0", "F1"), calling("F1", "F0"))
    doubling = [calling(f"F{at}", f"F{at + 1}", f"F{at + 1}") for at in range(40)]
    yield "function_doubling", with_functions(*doubling, calling("F40", "Relu"))
    yield "function_undefined", with_functions(calling("F0", "F9"))


def doubles() -> Iterator[tuple[str, ModelProto]]:
    """What stands there twice, or under a name that something else has."""
    yield "results_twice", model([node("Split", "x", outputs=["y", "y"], axis=0, num_outputs=2)])
    outputs = model([node("Relu", "x")])
    outputs.graph.output.append(outputs.graph.output[0])
    yield "outputs_twice", outputs
    inputs = model([node("Relu", "x")])
    inputs.graph.input.append(inputs.graph.input[0])
    yield "inputs_twice", inputs
    attributed = one("Softmax", axis=1)
    attributed.graph.node[0].attribute.append(helper.make_attribute("axis", 0))
    yield "attribute_twice", attributed
    imported = one("Relu")
    imported.opset_import.append(helper.make_opsetid("", 11))
    yield "opset_twice", imported
    shadow = _graph([node("Neg", "x", outputs=["s"], name="inner"), node("Relu", "s", outputs=["t"], name="t")], ["t"])
    outer = node("Exp", "x", outputs=["s"], name="outer")
    for name, first in {"before": [outer], "itself": []}.items():
        branch = node("If", "c", outputs=["r" if first else "s"], then_branch=shadow, else_branch=shadow)
        last = node("Add", "s", branch.output[0], name="last")
        yield f"shadow_{name}", model([*first, branch, last], {"c": np.array(True)})
    argument = helper.make_graph(
        [node("Identity", "x", outputs=["on"], name="on"), node("Relu", "v", outputs=["w"], name="w")], "body",
        [helper.make_tensor_value_info("i", INT64, []), helper.make_tensor_value_info("x", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v", FLOAT, [2, 3])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("w", FLOAT, [2, 3])],
    )  # fmt: skip
    yield "shadow_argument", model([node("Loop", "m", "", "x", body=argument)], _ints(m=2))


def annotations() -> Iterator[tuple[str, ModelProto]]:
    """What the file says of values between nodes, and of what nobody asked for."""
    for name, change in _STATED.items():
        made = model([node("Relu", "x", outputs=["v"]), node("Neg", "v", name="next")])
        made.graph.value_info.add().CopyFrom(change)
        made.graph.value_info[0].name = "v"
        yield f"noted_{name}", made
    for name, change in {"ghost": "ghost", "twice": "x"}.items():
        made = model([node("Relu", "x")])
        for _ in range(2):
            made.graph.value_info.append(helper.make_tensor_value_info(change, INT64, [9]))
        yield f"noted_{name}", made
    sparse = one("Add", "x", "w")
    values, places = tensor("w", [1], b"\0" * 4), tensor("", [1], np.int64(99).tobytes(), INT64)
    sparse.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2, 3]))
    yield "sparse_outside", sparse
    untyped = one("Relu")
    untyped.graph.input[0].ClearField("type")
    yield "input_without_type", untyped
    nameless = one("Relu", "")
    nameless.graph.input[0].name = ""
    yield "input_without_name", nameless
    yield "size_named_oddly", one("Relu", shape=("-5", "n" * 100_000))


def bodies() -> Iterator[tuple[str, ModelProto]]:
    """Loops, scans and functions that are called otherwise than they are written."""
    relu = helper.make_graph(
        [node("Relu", "v", outputs=["w"], name="w")], "body", [helper.make_tensor_value_info("v", FLOAT, [3])],
        [helper.make_tensor_value_info("w", FLOAT, [3])],
    )  # fmt: skip
    for name, count in {"0": 0, "minus": -1, "many": 1 << 40}.items():
        yield f"scan_inputs_{name}", model([node("Scan", "x", body=relu, num_scan_inputs=count)])
    for name, given in {"axes": [9], "minus": [-9], "many": [0] * 5}.items():
        yield f"scan_axes_{name}", model([node("Scan", "x", body=relu, num_scan_inputs=1, scan_input_axes=given)])
    yield "scan_directions", model([node("Scan", "x", body=relu, num_scan_inputs=1, scan_input_directions=[7])])
    yield "body_missing", model([node("Loop", "m", "", "x")], _ints(m=3))
    yield "body_number", model([node("Loop", "m", "", "x", body=1)], _ints(m=3))
    imports = [helper.make_opsetid("", 18)]
    own = helper.make_opsetid("own", 1)
    add = node("Add", "x", "z", outputs=["w"])
    bodies = {
        "operands": helper.make_function("own", "F", ["x", "z"], ["w"], [add], imports),
        "results": helper.make_function("own", "F", ["x"], ["ghost"], [node("Relu", "x", outputs=["w"])], imports),
        "imports": helper.make_function("own", "F", ["x"], ["w"], [node("Relu", "x", outputs=["w"])], []),
        "cycle": helper.make_function("own", "F", ["x"], ["w"], [node("Relu", "w", outputs=["w"])], imports),
        "attribute": helper.make_function(
            "own", "F", ["x"], ["w"], [_referring(node("Softmax", "x", outputs=["w"]))], imports, ["a"]
        ),
        "outer": helper.make_function("own", "F", ["z"], ["w"], [node("Relu", "x", outputs=["w"])], imports),
    }  # fmt: skip
    for name, function in bodies.items():
        made = model([node("F", "x", domain="own")])
        made.opset_import.append(own)
        made.functions.append(function)
        if name == "attribute":
            made.graph.node[0].attribute.append(helper.make_attribute("a", "no number"))
        yield f"function_{name}", made
    twice = model([node("F", "x", domain="own")])
    twice.opset_import.append(own)
    twice.functions.extend(
        helper.make_function("own", "F", ["x"], ["w"], [node(kind, "x", outputs=["w"])], imports)
        for kind in ("Relu", "Neg")
    )
    yield "function_twice", twice


def _referring(of: NodeProto) -> NodeProto:
    of.attribute.append(AttributeProto(name="axis", ref_attr_name="a", type=AttributeProto.INT))
    return of


FAMILIES: Sequence[Callable[[], Iterator[tuple[str, ModelProto]]]] = (
    attributes, settings, wiring, tensors, frames, subgraphs, functions, doubles, annotations, bodies,
)  # fmt: skip


def all_lies() -> dict[str, ModelProto]:
    """Every model by name."""
    return {name: made for family in FAMILIES for name, made in family()}
