"""Tests that operators compute on the GPU what ONNX's reference evaluator does, or onnxruntime where that errs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt
from onnx.reference import ReferenceEvaluator

from tstorch import backend

pytestmark = pytest.mark.gpu

TOLERANCE = 3e-5
"""Of the largest element."""


@dataclass(frozen=True)
class Case:
    """One node; `stored` are the positions of inputs that are initializers, None an absent input."""

    op_type: str
    opset: int
    inputs: Sequence[np.ndarray | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    stored: Sequence[int] = ()
    oracle: str = "onnx"

    def __str__(self) -> str:
        shapes = ["-" if array is None else "x".join(map(str, array.shape)) or "()" for array in self.inputs]
        return "-".join([f"{self.op_type}_{self.opset}", *shapes, *(f"{k}={v}" for k, v in self.attributes.items())])

    def model(self) -> onnx.ModelProto:
        names = [f"x{at}" if array is not None else "" for at, array in enumerate(self.inputs)]
        results = [f"y{at}" for at in range(self.outputs)]
        given, held = [], []
        for at, (name, array) in enumerate(zip(names, self.inputs, strict=True)):
            if array is None:
                continue
            if at in self.stored:
                held.append(numpy_helper.from_array(array, name))
            else:
                kind = helper.np_dtype_to_tensor_dtype(array.dtype)
                given.append(helper.make_tensor_value_info(name, kind, array.shape))
        node = helper.make_node(self.op_type, names, results, name="n", **self.attributes)
        graph = helper.make_graph([node], "one", given, [onnx.ValueInfoProto(name=name) for name in results], held)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)

    def feeds(self) -> dict[str, np.ndarray]:
        return {f"x{at}": a for at, a in enumerate(self.inputs) if a is not None and at not in self.stored}

    def expected(self) -> list[np.ndarray]:
        model = self.model()
        if self.oracle == "onnx":
            return ReferenceEvaluator(model).run(None, self.feeds())  # pyright: ignore[reportReturnType]
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, self.feeds())  # pyright: ignore[reportReturnType]


def floats(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def ints(*values: Any) -> np.ndarray:
    return np.array(values if len(values) != 1 else values[0], np.int64)


IMAGE = floats(2, 3, 5, 7)
GRID = np.random.default_rng(1).uniform(-1.6, 1.6, (2, 4, 6, 2)).astype(np.float32)
REGIONS = np.array([[0, 0, 9, 9], [2, 3, 14, 11], [-4, -3, 40, 22], [5, 5, 5.2, 5.1], [8, 2, 3, 1]], np.float32)
WORDS = np.random.default_rng(2).integers(0, 6, (3, 12))
POOL = {"ngram_counts": [0, 4], "ngram_indexes": [6, 0, 2, 9, 4, 5, 3], "pool_int64s": [2, 3, 5, 4, 5, 0, 1, 2, 3, 4]}


def sampling() -> Iterator[Case]:
    for at, mode in enumerate(("linear", "nearest", "cubic")):
        for padding in ("zeros", "border", "reflection"):
            chosen = {"mode": mode, "padding_mode": padding, "align_corners": (at + len(padding)) % 2}
            yield Case("GridSample", 22, [IMAGE, GRID], chosen)
    grid = np.random.default_rng(3).uniform(-1.3, 1.3, (1, 2, 3, 2, 3)).astype(np.float32)
    yield Case("GridSample", 20, [floats(1, 2, 3, 4, 5), grid], {"padding_mode": "reflection", "align_corners": 1})
    yield Case("GridSample", 16, [IMAGE, GRID], {"mode": "bilinear"}, oracle="onnxruntime")
    for ratio in (0, 1, 2, 5):
        for transform in ("half_pixel", "output_half_pixel"):
            bins = {"output_height": 3, "output_width": 4, "sampling_ratio": ratio, "spatial_scale": 0.7}
            regions = [floats(2, 3, 12, 16), REGIONS, ints(0, 1, 1, 0, 1)]
            yield Case("RoiAlign", 22, regions, bins | {"coordinate_transformation_mode": transform})
    yield Case("RoiAlign", 16, regions, {"mode": "max", "sampling_ratio": 2, "output_height": 2})
    yield Case("RoiAlign", 10, [regions[0][:1], REGIONS, ints(*[0] * 5)], {"output_width": 2}, oracle="onnxruntime")
    for strides, pads, group, groups in (([1, 1], [0, 0, 0, 0], 2, 1), ([2, 1], [1, 0, 2, 1], 1, 4)):
        size = [(8 + pads[0] + pads[2] - 3) // strides[0] + 1, (9 + pads[1] + pads[3] - 3) // strides[1] + 1]
        inputs = [floats(2, 4, 8, 9), floats(6, 4 // group, 3, 2), floats(2, groups * 12, *size, seed=4, scale=1.5)]
        inputs += [floats(6), floats(2, groups * 6, *size, seed=5)]
        sizes = {"strides": strides, "pads": pads, "dilations": [1, 2], "kernel_shape": [3, 2]}
        yield Case("DeformConv", 22, inputs, sizes | {"group": group, "offset_group": groups})


def windows() -> Iterator[Case]:
    folds = {"strides": [2, 3], "dilations": [1, 2], "pads": [1, 1, 1, 2]}
    yield Case("Col2Im", 18, [floats(2, 18, 12), ints(7, 6), ints(3, 2)], folds, stored=(1, 2))
    yield Case("Col2Im", 18, [floats(2, 6, 5), ints([7]), ints([3])], stored=(1, 2))
    for order in (0, 1):
        for image in (floats(2, 3, 9, 7), floats(2, 3, 9, 7, scale=2).round()):
            placed = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1], "storage_order": order}
            yield Case("MaxPool", 12, [image], placed, outputs=2, oracle="onnxruntime")
            spread = {"kernel_shape": [2, 2], "dilations": [2, 2], "ceil_mode": 1, "storage_order": order}
            yield Case("MaxPool", 12, [image], spread, outputs=2, oracle="onnxruntime")
    lowest = np.full((1, 1, 5), -np.inf, np.float32)
    yield Case("MaxPool", 12, [lowest], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}, 2, (), "onnxruntime")
    volume = {"kernel_shape": [2, 2, 3], "strides": [1, 2, 1], "pads": [0, 1, 0, 1, 0, 1]}
    yield Case("MaxPool", 12, [floats(1, 2, 4, 5, 6)], volume, outputs=2, oracle="onnxruntime")
    places = ints([[[[5, 6], [9, 15]], [[16, 18], [25, 31]]]])
    pooled = {"kernel_shape": [2, 2], "strides": [2, 2]}
    yield Case("MaxUnpool", 11, [floats(1, 2, 2, 2), places], pooled)
    yield Case("MaxUnpool", 22, [floats(1, 2, 2, 2), places, ints(1, 2, 6, 5)], pooled, stored=(2,))
    for size in ({"output_shape": [10, 8]}, {"output_shape": [8, 6], "auto_pad": "SAME_LOWER"}):
        yield Case("ConvTranspose", 11, [floats(1, 4, 3, 3), floats(4, 2, 3, 3)], {"strides": [3, 2]} | size)


def signals() -> Iterator[Case]:
    for length in (7, 8, 31):
        yield Case("DFT", 19, [floats(2, length, 3, 1)], {"onesided": 1})
        half = floats(2, length // 2 + 1, 3, 2)
        yield Case("DFT", 20, [half, ints(length), ints(1)], {"onesided": 1, "inverse": 1}, stored=(1, 2))
    yield Case("DFT", 17, [floats(2, 9, 2), ints(12)], stored=(1,))
    window = np.hanning(16).astype(np.float32)
    for onesided in (0, 1):
        yield Case("STFT", 17, [floats(2, 50, 1), ints(5), window, ints(16)], {"onesided": onesided}, stored=(1, 3))
    yield Case("STFT", 17, [floats(2, 50, 2), ints(5), window], {"onesided": 0}, stored=(1,))
    yield Case("STFT", 17, [floats(2, 50, 1), ints(7), None, ints(15)], stored=(1, 3))
    edges = [np.array(edge, np.float32) for edge in (20, 20000)]
    yield Case("MelWeightMatrix", 17, [ints(128), ints(512), ints(44100), *edges], stored=range(5))
    yield Case("MelWeightMatrix", 17, [ints(40), ints(400), ints(44100), *edges], stored=range(5))
    for mode in ("TF", "IDF", "TFIDF"):
        lengths = {"mode": mode, "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 2}
        weights = {"weights": [0.5, 1.0, 2.0, 3.0, 0.25, 4.0, 7.0, 6.0, 5.0, 8.0]}
        yield Case("TfIdfVectorizer", 9, [WORDS], POOL | lengths | weights)
        yield Case("TfIdfVectorizer", 9, [WORDS[0].astype(np.int32)], POOL | lengths | weights)
    for kind in (np.float32, np.int32):
        for ends in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}):
            rows = floats(3, 5, 70, scale=9).astype(kind)
            yield Case("CumSum", 14, [rows, np.array(-1, np.int32)], ends, stored=(1,))
            yield Case("CumProd", 26, [rows[:, 0, :6], np.array(1, np.int32)], ends, stored=(1,))


def positions() -> Iterator[Case]:
    for size in (1, 2, 5):
        yield Case("Det", 22, [floats(3, 2, size, size)])
    yield Case("Det", 11, [np.array([[[0, 2], [3, 1]], [[0, 0], [0, 1]]], np.float32)])
    cache = [floats(3, 4, 6, 5), floats(3, 4, 2, 5, seed=1)]
    yield Case("TensorScatter", 24, [*cache, ints(1, 4, 5)], {"mode": "circular"})
    yield Case("TensorScatter", 24, cache)
    yield Case("TensorScatter", 24, [floats(3, 6, 5), floats(3, 2, 5, seed=1), ints(1, 4, 0)], {"axis": 1})
    yield Case("ReverseSequence", 10, [floats(5, 3, 4), ints(5, 0, 2)], {"batch_axis": 1, "time_axis": 0})
    yield Case("ReverseSequence", 10, [floats(3, 5), ints(5, 1, 2)], {"batch_axis": 0, "time_axis": 1})
    hot = [np.array([[1, -1], [3, 9]], np.float32), np.array(4, np.float32), floats(2)]
    yield Case("OneHot", 9, hot, {"axis": 1}, stored=(1,))
    yield Case("OneHot", 11, [ints(1, -3, -4, 7), ints(3), np.array([1, 7], np.int32)], {"axis": 0}, stored=(1,))
    elements = ints([[0, -1, 2], [3, 1, -2]])
    pairs = ints([[0, -1], [2, -2], [1, 1]])
    for reduction in ("none", "add", "mul", "max", "min"):
        how = {"reduction": reduction}
        yield Case("ScatterElements", 18, [floats(4, 5), elements, floats(2, 3, seed=1)], {"axis": 1} | how)
        deep = np.random.default_rng(2).permuted(np.tile(np.arange(-3, 3), (4, 2, 1)), axis=2)  # an index once a row
        yield Case("ScatterElements", 18, [floats(5, 3, 6), deep, floats(4, 2, 6, seed=1)], {"axis": 2} | how)
        yield Case("ScatterND", 18, [floats(4, 5, 2), pairs, floats(3, 2, seed=1)], how)
        for kind in (np.int8, np.uint16, np.float16, np.uint32) if reduction in ("none", "add") else (np.int16,):
            table, updates = np.abs(floats(4, 6, scale=3)).astype(kind), np.abs(floats(3, scale=3)).astype(kind)
            yield Case("ScatterND", 18, [table, pairs, updates], how)
    for kind in (np.uint8, np.int16, np.float16, np.bool_, np.int64):
        inner = floats(2, 3, 4, scale=9).astype(kind)
        yield Case("GatherND", 13, [inner, ints([[[1], [-1]], [[0], [-3]]])], {"batch_dims": 1})
        yield Case("GatherElements", 13, [inner[0], ints([[0, -1, 2, 1], [-3, 1, 1, 0]])], {"axis": 0})
        yield Case("Gather", 13, [inner, np.array([[1, -1], [-2, 0]], np.int32)], {"axis": 0})


def statistics() -> Iterator[Case]:
    batch = [floats(4, 3, 5, 6), *(floats(3, seed=seed) for seed in range(3)), np.abs(floats(3, seed=4))]
    yield Case("BatchNormalization", 15, batch, {"training_mode": 1, "momentum": 0.8}, outputs=3)
    yield Case("BatchNormalization", 14, batch, {"training_mode": 1, "epsilon": 1e-3}, outputs=3)
    yield Case("Dropout", 13, [floats(3, 4), np.float32(0) + np.zeros((), np.float32), np.array(True)], {}, 2, (1, 2))


def resized(image: np.ndarray, oracle: str, roi: Any = None, opset: Any = 19, **attributes: Any) -> Case:
    scales, sizes = (attributes.pop(name, None) for name in ("scales", "sizes"))
    given = [np.asarray(roi, np.float32) if roi else None, np.asarray(scales, np.float32) if scales else None]
    inputs = [image, *given, *([ints(*sizes)] if sizes else [])]
    stored = [at for at in (1, 2, 3) if at < len(inputs)]
    return Case("Resize", opset, inputs, attributes, stored=stored, oracle=oracle)


def resizing() -> Iterator[Case]:
    image, transform = floats(1, 2, 20, 33), "coordinate_transformation_mode"
    for mode in ("linear", "cubic", "nearest"):
        for where in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric"):
            yield resized(image, "onnx", sizes=[1, 2, 47, 100], mode=mode, **{transform: where})
            if where != "align_corners":  # which onnxruntime computes from the rounded size
                yield resized(image, "onnxruntime", scales=[1, 1, 3.3, 0.6], mode=mode, **{transform: where})
        crop = {"roi": [0, 0, 0.2, -0.1, 1, 1, 0.9, 1.3], "extrapolation_value": 5.0}
        yield resized(image, "onnx", sizes=[1, 2, 13, 70], mode=mode, **crop, **{transform: "tf_crop_and_resize"})
        for policy in ("not_larger", "not_smaller"):
            kept = {"keep_aspect_ratio_policy": policy, "axes": [2, 3]}
            yield resized(image, "onnx", opset=18, sizes=[30, 70], mode=mode, **kept)
    for mode in ("linear", "cubic"):
        for outside in (0, 1):
            yield resized(image, "onnx", sizes=[1, 2, 29, 8], mode=mode, antialias=1, exclude_outside=outside)
    yield resized(image, "onnx", sizes=[1, 2, 30, 8], mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
    for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"):
        for scales in ([1, 1, 0.6, 1.3], [1, 1, 2, 0.4]):
            chosen = {"scales": scales, "mode": "nearest", "nearest_mode": rounding}
            yield resized(image, "onnxruntime", **chosen, **{transform: "asymmetric"})
    yield resized(image.clip(0, 2).astype(np.uint8), "onnxruntime", sizes=[1, 2, 13, 5], mode="linear")
    scales = np.array([1, 1, 1.5, 2], np.float32)
    yield Case("Resize", 10, [image, scales], {"mode": "linear"}, stored=(1,), oracle="onnxruntime")
    yield Case("Upsample", 9, [image, scales], {"mode": "linear"}, stored=(1,), oracle="onnxruntime")
    yield Case("Upsample", 7, [image], {"mode": "nearest", "scales": [1.0, 1.0, 2.0, 3.0]}, oracle="onnxruntime")


def versions() -> Iterator[Case]:
    """What older opsets say otherwise than the newest."""
    box = np.abs(floats(2, 3, 4))
    yield Case("Clip", 7, [floats(2, 3)], {"min": -0.5, "max": 0.5})
    yield Case("Clip", 10, [floats(2, 3)], {"max": 0.1})
    for name in ("ReduceL1", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSumSquare"):
        yield Case(name, 7, [box], {"axes": [0, 2]})
        yield Case(name, 11, [box], {"axes": [-1], "keepdims": 0})
        yield Case(name, 18, [box, ints([])], {"noop_with_empty_axes": 1}, stored=(1,))
    yield Case("ReduceSum", 13, [box, ints(1, -1)], stored=(1,))
    yield Case("Slice", 7, [box], {"starts": [0, -3], "ends": [1, 100], "axes": [0, 2]})
    yield Case("Squeeze", 7, [floats(1, 3, 1)], {"axes": [0]})
    yield Case("Unsqueeze", 11, [box], {"axes": [0, -1]})
    yield Case("TopK", 7, [box], {"k": 2, "axis": 1}, outputs=2)
    yield Case("TopK", 10, [box, ints([2])], {"axis": -1}, outputs=2, stored=(1,))
    for mode in ("constant", "reflect", "edge"):
        yield Case("Pad", 7, [box], {"pads": [0, 1, 0, 0, 0, 2], "mode": mode, "value": 3.0})
    for name in ("Softmax", "LogSoftmax", "Hardmax"):
        yield Case(name, 7, [box], {"axis": 1})
        yield Case(name, 13, [box], {"axis": 1})
    yield Case("DepthToSpace", 7, [floats(1, 8, 2, 3)], {"blocksize": 2})
    nearest = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor", "mode": "nearest"}
    yield resized(
        floats(1, 1, 4, 5), "onnxruntime", opset=11, roi=[0, 0, 0, 0, 1, 1, 1, 1], scales=[1, 1, 2.5, 2], **nearest
    )
    yield Case("Scatter", 9, [floats(3, 3), ints([0, 1, 2], [2, 0, 1]), floats(2, 3, seed=1)], {"axis": 0})
    yield Case("Split", 7, [floats(4, 6)], {"axis": 1}, outputs=2)
    yield Case("Split", 11, [floats(4, 6)], {"axis": 1, "split": [2, 4]}, outputs=2)
    yield Case("Flatten", 7, [box])
    yield Case("Concat", 7, [box, box], {"axis": 1})
    yield Case("PRelu", 7, [floats(2, 3, 4, 4), floats(3, 1, 1)])
    yield Case("MaxPool", 8, [floats(1, 2, 5, 5)], {"kernel_shape": [2, 2]}, outputs=2)
    yield Case("BatchNormalization", 9, [floats(4, 3, 5), *(np.abs(floats(3, seed=seed)) for seed in range(4))])


CASES = [
    *(replace(case, oracle="onnxruntime") for case in versions()),
    *sampling(),
    *windows(),
    *signals(),
    *positions(),
    *statistics(),
    *resizing(),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_computes_what_its_oracle_does(case: Case):
    found = backend.prepare(case.model()).run(case.feeds())
    for ours, theirs in zip(found, case.expected(), strict=True):
        theirs = np.asarray(theirs)
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        bound = TOLERANCE * np.abs(theirs[np.isfinite(theirs)], dtype=np.float64).max(initial=0)
        np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=0, atol=bound)


REFUSED = [
    (Case("DFT", 20, [floats(2, 6, 2)], {"inverse": 1}), "inverse without onesided"),
    (Case("RoiAlign", 16, [IMAGE, REGIONS, ints(*[0] * 5)], {"mode": "max"}), "sampling_ratio 0 .* data says"),
    (Case("GridSample", 20, [IMAGE.astype(np.int32), GRID], {"mode": "linear"}), "mode linear of i32"),
    (Case("GridSample", 20, [IMAGE, GRID], {"mode": "lanczos"}), "mode is lanczos"),
    (Case("Col2Im", 18, [floats(2, 18, 11), ints(7, 6), ints(3, 2)], stored=(1, 2)), "windows of .* lie at"),
    (Case("Det", 22, [floats(2, 3)]), "expected square ones"),
    (Case("Dropout", 13, [floats(3), np.array(0.5, np.float32), np.array(True)], stored=(1, 2)), "drops at random"),
    (Case("Resize", 19, [IMAGE, None, None, ints(1, 3, 9, 9)], {"mode": "box"}, stored=(3,)), "mode is box"),
    (Case("TensorScatter", 24, [floats(3, 4), floats(3, 6)], {"axis": 1}), "6 updates along axis 1"),
    (Case("ReverseSequence", 10, [floats(3, 4), ints(1, 2, 3)], {"batch_axis": 0, "time_axis": 0}), "expected 0 and 1"),
]


@pytest.mark.parametrize(("case", "message"), REFUSED, ids=str)
def test_what_has_no_form_is_refused_by_operator_version_and_node(case: Case, message: str):
    with pytest.raises(
        BackendIsNotSupposedToImplementIt, match=rf"onnx 'n' \({case.op_type}, opset {case.opset}\): .*{message}"
    ):
        backend.prepare(case.model()).run(case.feeds())
