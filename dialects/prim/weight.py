"""Tensors whose bytes stand elsewhere: in the model's file, or in what @init computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xdsl.dialects.builtin import StringAttr, TensorType, UnitAttr, f32
from xdsl.irdl import irdl_op_definition, opt_prop_def, prop_def, result_def

from tstorch.dialects.prim.base import Array
from tstorch.dialects.prim.generator import SourceOp
from tstorch.dialects.prim.sample import Sample
from tstorch.dialects.prim.types import tensor


class ExternalOp(SourceOp):
    """A tensor that has to be looked up."""

    def fold(self) -> None:
        return None

    def reference(self) -> Sequence[Array]:
        raise LookupError(f"{self.name} has no value of its own: pass evaluate() a lookup for weights")


@irdl_op_definition
class WeightOp(ExternalOp):
    """A tensor of the model: the file it stands in, its key there, and the digest of its bytes."""

    name = "prim.weight"
    file = prop_def(StringAttr)
    key = prop_def(StringAttr)
    digest = prop_def(StringAttr)
    trainable = opt_prop_def(UnitAttr)
    type = prop_def(SourceOp.T)
    result = result_def(SourceOp.T)
    assembly_format = "`<` $file `,` $key `,` $digest `>` (`trainable` $trainable^)? attr-dict `:` $type"

    def __init__(self, *, file: str, key: str, digest: str, type: TensorType, trainable: bool = False):
        names = {"file": file, "key": key, "digest": digest}
        properties = {name: StringAttr(text) for name, text in names.items()}
        super().__init__([], {**properties, "type": type, **({"trainable": UnitAttr()} if trainable else {})})

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        names = {"file": "model.onnx", "key": 'conv1/"w"', "digest": "7010b6a9e47131ef"}
        yield Sample(properties={**names, "type": tensor((2, 3), f32)})
        yield Sample(properties={**names, "type": tensor((), f32), "trainable": True})


@irdl_op_definition
class DerivedOp(ExternalOp):
    """The result of @init whose `tst.name` is `key`: a tensor computed once, at load."""

    name = "prim.derived"
    key = prop_def(StringAttr)
    type = prop_def(SourceOp.T)
    result = result_def(SourceOp.T)
    assembly_format = "$key attr-dict `:` $type"

    def __init__(self, key: str, *, type: TensorType):
        super().__init__([], {"key": StringAttr(key), "type": type})

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        yield Sample(properties={"key": "conv1.weight.folded", "type": tensor((2, 3), f32)})
