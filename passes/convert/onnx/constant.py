"""Tensors that are known before a run: constants, shapes, ramps."""

from __future__ import annotations

from math import ceil, prod

import numpy as np
from xdsl.dialects.builtin import i32, i64
from xdsl.utils.exceptions import VerifyException

from tstorch.dialects.onnx import ELEMENT_TYPES, TensorWeightAttr
from tstorch.dialects.prim.elementwise import OrOp
from tstorch.dialects.prim.generator import MAX_CONSTANT, IotaOp
from tstorch.dialects.prim.weight import WeightOp
from tstorch.passes.convert.onnx.node import Node, normalized, onnx_op, rules_of
from tstorch.passes.convert.onnx.value import Value

# Attribute of Constant -> the type that a plain number or list of numbers has there.
_PLAIN = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}


@onnx_op("Constant")
def constant(node: Node) -> Value:
    value = node.attribute("value")
    if isinstance(value, TensorWeightAttr):
        weight = value.weight
        return node.emit.value(WeightOp(**weight.names, type=value.type))
    if value is None:
        name = next((name for name in _PLAIN if node.attribute(name) is not None), None)
        if name is None:
            raise VerifyException("it holds no tensor of numbers; strings and sparse tensors have no form here")
        value = np.array(node.attribute(name), _PLAIN[name])
    if value.size > MAX_CONSTANT:
        raise VerifyException(f"a list of {value.size} numbers; expected a tensor, or {MAX_CONSTANT} at most")
    return node.emit.constant(value)


@onnx_op("ConstantOfShape")
def constant_of_shape(node: Node) -> Value:
    shape, fill = node.constant(0), node.attribute("value")
    number = np.zeros(1, np.float32) if fill is None else fill
    return node.emit.constant(number.reshape(())).broadcast_to([] if shape is None else shape.tolist())


@onnx_op("Shape")
def shape_of(node: Node) -> Value:
    """Since opset 15 a part of it: `start` and `end` may lie outside and are then moved in."""
    shape = node.input(0).shape
    part = shape[slice(node.attribute("start"), node.attribute("end"))]
    return node.emit.constant(np.array(part, np.int64))


@onnx_op("Size")
def size_of(node: Node) -> Value:
    return node.emit.constant(np.array(prod(node.input(0).shape), np.int64))


@onnx_op("Range")
def ramp(node: Node) -> Value:
    start, limit, delta = (node.constant(position) for position in range(3))
    if start is None or limit is None or delta is None or not delta.item():
        raise VerifyException("start, limit and a delta other than 0 must be given")
    if not np.isfinite([start.item(), limit.item(), delta.item()]).all():
        raise VerifyException(f"from {start.item()} to {limit.item()} by {delta.item()}; expected finite numbers")
    count = max(ceil((limit.item() - start.item()) / delta.item()), 0)
    steps = node.emit.value(IotaOp(shape=[count], dimension=0, element_type=node.input(0).element))
    steps = steps if delta.item() == 1 else steps * delta.item()
    return steps if start.item() == 0 else steps + start.item()


@onnx_op("EyeLike")
def eye_like(node: Node) -> Value:
    value, number = node.input(0), node.attribute("dtype")
    element = value.element if number is None else ELEMENT_TYPES[number]
    row, column = (node.emit.value(IotaOp(shape=value.shape, dimension=at, element_type=i32)) for at in (0, 1))
    return (column - row).compare("eq", node.attribute("k")).convert(element)


@onnx_op("OneHot")
def one_hot(node: Node) -> Value:
    """`values` holds what stands elsewhere and what stands at the index; negative indices count from the end."""
    indices, depth, values = node.input(0), node.constant(1), node.input(2)
    count = int(np.asarray(depth).item())
    axis = normalized(node.attribute("axis"), indices.rank + 1)
    shape = [*indices.shape[:axis], count, *indices.shape[axis:]]
    spread = indices.reshape([*indices.shape[:axis], 1, *indices.shape[axis:]]).convert(i64)
    place = node.emit.value(IotaOp(shape=shape, dimension=axis, element_type=i64))
    hot = place.compare("eq", spread).apply(OrOp, (place - count).compare("eq", spread))
    return hot.where(values.take(0, 1, 2).reshape(()), values.take(0, 0, 1).reshape(()))


RULES = rules_of(globals())
