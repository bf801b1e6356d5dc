"""One segment's host program: buffers, views into them at offsets, and the commands of one run in order.

    buf.buffer @arena0 : 602112 "activation"
    buf.entry @run {
      %x = buf.view @arena0[0] "image" : !buf.view<tensor<1x3x224x224xf32>>
      %w = buf.weight @weights0[0] <"m.onnx", "conv1.weight", "9f2c"> from 0 of tensor<64x3x7x7xf32> : !buf.view<...>
      %y = buf.view @arena1[0] "/conv1/Conv" : !buf.view<tensor<1x64x112x112xf32>>
      %z = buf.subview %y[0] : !buf.view<tensor<1x64x112x112xf32>> -> !buf.view<tensor<1x802816xf32>>
      buf.upload "image", %x {dtype = "float32", storage = "f32"} : !buf.view<tensor<1x3x224x224xf32>>
      buf.dispatch @conv_0(read %x : ..., read %w : ..., write %y : ...) grid [98, 2, 1] {id = 0, label = "conv", ...}
      buf.readback "logits", %z {dtype = "float32", storage = "f32"} : !buf.view<tensor<1x802816xf32>>
    }

A view is one allocation: its bytes are its own from its first write to its last read. A subview names bytes of another
view (a reshape, a slice of a concatenation, a result written in place). `buf.entry` checks all of it.
"""

from xdsl.ir import Dialect

from tstorch.dialects.buf.commands import Command, CopyOp, DispatchOp, ReadbackOp, UploadOp
from tstorch.dialects.buf.entry import EntryOp, buffers_of
from tstorch.dialects.buf.places import BufferOp, DerivedOp, Placed, StateOp, SubviewOp, ViewOp, WeightOp
from tstorch.dialects.buf.types import (
    WORD,
    Access,
    Category,
    ViewType,
    WeightRefAttr,
    storage_bytes,
    storage_dtype,
    view_bytes,
)

Buf = Dialect(
    "buf",
    [BufferOp, ViewOp, WeightOp, StateOp, DerivedOp, SubviewOp, UploadOp, ReadbackOp, CopyOp, DispatchOp, EntryOp],
    [ViewType, WeightRefAttr],
)

__all__ = [
    "WORD",
    "Access",
    "Buf",
    "BufferOp",
    "Category",
    "Command",
    "CopyOp",
    "DerivedOp",
    "DispatchOp",
    "EntryOp",
    "Placed",
    "ReadbackOp",
    "StateOp",
    "SubviewOp",
    "UploadOp",
    "ViewOp",
    "ViewType",
    "WeightOp",
    "WeightRefAttr",
    "buffers_of",
    "storage_bytes",
    "storage_dtype",
    "view_bytes",
]
