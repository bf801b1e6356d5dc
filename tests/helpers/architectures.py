"""Small networks of the kinds that people export, built as exporters spell them: each exercises what its kind needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from models import Builder
from onnx import ModelProto, TensorProto, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def numbers(build: Builder, *values: int) -> str:
    """A stored list of int64."""
    return build.constant(f"numbers_{len(build.weights)}", np.array(values, np.int64))


def linear(build: Builder, x: str, inputs: int, outputs: int, name: str) -> str:
    """x W + b."""
    product = build.node("MatMul", x, build.weight(f"{name}.weight", inputs, outputs), name=f"{name}/MatMul")
    return build.node("Add", product, build.weight(f"{name}.bias", outputs, scale=0.1), name=f"{name}/Add")


def normed(build: Builder, x: str, width: int, name: str) -> str:
    """A layer normalisation over the last axis."""
    scale, bias = (
        build.weight(f"{name}.scale", width, scale=0.1, around=1),
        build.weight(f"{name}.bias", width, scale=0.1),
    )
    return build.node("LayerNormalization", x, scale, bias, name=name, axis=-1)


def scaled_dot(build: Builder, q: str, k: str, v: str, width: int, name: str, bias: str = "") -> str:
    """softmax(q k' / sqrt(width) + bias) v on (batch, heads, rows, width)."""
    turned = build.node("Transpose", k, name=f"{name}/turn", perm=[0, 1, 3, 2])
    scores = build.node("MatMul", q, turned, name=f"{name}/scores")
    scores = build.node("Mul", scores, build.constant(f"{name}.scale", np.float32(width**-0.5)), name=f"{name}/scaled")
    scores = build.node("Add", scores, bias, name=f"{name}/masked") if bias else scores
    shares = build.node("Softmax", scores, name=f"{name}/Softmax", axis=-1)
    return build.node("MatMul", shares, v, name=f"{name}/mix")


def heads(build: Builder, x: str, count: int, width: int, name: str, batch: int = 1) -> str:
    """(batch, rows, hidden) as (batch, heads, rows, width)."""
    apart = build.node("Reshape", x, numbers(build, batch, -1, count, width), name=f"{name}/split")
    return build.node("Transpose", apart, name=f"{name}/heads", perm=[0, 2, 1, 3])


def joined(build: Builder, x: str, hidden: int, name: str, batch: int = 1) -> str:
    """(batch, heads, rows, width) as (batch, rows, hidden)."""
    back = build.node("Transpose", x, name=f"{name}/back", perm=[0, 2, 1, 3])
    return build.node("Reshape", back, numbers(build, batch, -1, hidden), name=f"{name}/join")


def speech_decoder() -> ModelProto:
    """One step of a decoder: a token, its cached keys and values, and attention to what an encoder heard."""
    build, hidden, count, past, heard = Builder(20), 16, 2, 5, 7
    width = hidden // count
    x = build.node("Gather", build.weight("embed", 30, hidden, scale=1.0), "token", name="embed")
    places = build.node(
        "Slice", build.weight("places", 12, hidden), numbers(build, past), numbers(build, past + 1), name="place"
    )
    x = build.node("Add", x, places, name="placed")
    y = normed(build, x, hidden, "norm1")
    q, k, v = (linear(build, y, hidden, hidden, f"self.{part}") for part in "qkv")
    q, k, v = (heads(build, each, count, width, f"self.{part}") for each, part in zip((q, k, v), "qkv", strict=True))
    keys = build.node("Concat", "past_key", k, name="keys", axis=2)
    values = build.node("Concat", "past_value", v, name="values", axis=2)
    mixed = joined(build, scaled_dot(build, q, keys, values, width, "self"), hidden, "self")
    x = build.node("Add", x, linear(build, mixed, hidden, hidden, "self.out"), name="residual1")
    q = heads(
        build, linear(build, normed(build, x, hidden, "norm2"), hidden, hidden, "cross.q"), count, width, "cross.q"
    )
    k, v = (
        heads(build, linear(build, "heard", hidden, hidden, f"cross.{p}"), count, width, f"cross.{p}") for p in "kv"
    )
    mixed = joined(build, scaled_dot(build, q, k, v, width, "cross"), hidden, "cross")
    x = build.node("Add", x, linear(build, mixed, hidden, hidden, "cross.out"), name="residual2")
    logits = build.node("MatMul", x, build.node("Transpose", "embed", name="tied", perm=[1, 0]), name="logits")
    cache = [1, count, past, width]
    grown = [1, count, past + 1, width]
    return build.model(
        {
            "token": (INT64, [1, 1]),
            "past_key": (FLOAT, cache),
            "past_value": (FLOAT, cache),
            "heard": (FLOAT, [1, heard, hidden]),
        },
        {logits: (FLOAT, [1, 1, 30]), keys: (FLOAT, grown), values: (FLOAT, grown)},
    )


def convolved(
    build: Builder, x: str, inputs: int, outputs: int, name: str, kernel: int = 3, act: str = "Relu", **more
) -> str:
    """A convolution that keeps the size, normalisation by channel, an activation."""
    weight = build.weight(f"{name}.weight", outputs, inputs // more.get("group", 1), kernel, kernel)
    pad = more.get("dilations", [1])[0] * (kernel // 2)
    x = build.node("Conv", x, weight, name=f"{name}/Conv", pads=[pad] * 4, kernel_shape=[kernel] * 2, **more)
    stats = [build.weight(f"{name}.{part}", outputs, scale=0.1, around=1) for part in ("scale", "var")]
    zero = [build.weight(f"{name}.{part}", outputs, scale=0.1) for part in ("beta", "mean")]
    var = build.constant(f"{name}.variance", np.full(outputs, 0.9, np.float32))
    x = build.node("BatchNormalization", x, stats[0], zero[0], zero[1], var, name=f"{name}/bn")
    return build.node(act, x, name=f"{name}/{act}") if act else x


def unet() -> ModelProto:
    """Segmentation: down, up by Resize, a skip connection, and a class for each pixel."""
    build = Builder(21)
    a = convolved(build, "image", 3, 8, "down1")
    b = convolved(build, build.node("MaxPool", a, name="pool", kernel_shape=[2, 2], strides=[2, 2]), 8, 16, "down2")
    scales = build.constant("scales", np.array([1, 1, 2, 2], np.float32))
    up = build.node("Resize", b, "", scales, name="up", mode="linear", coordinate_transformation_mode="half_pixel")
    x = convolved(build, build.node("Concat", a, up, name="skip", axis=1), 24, 8, "up1")
    wide = build.weight("transposed.weight", 8, 4, 2, 2)
    x = build.node("ConvTranspose", x, wide, name="transposed", strides=[2, 2], kernel_shape=[2, 2])
    classes = build.node("ArgMax", x, name="classes", axis=1, keepdims=0)
    return build.model({"image": (FLOAT, [1, 3, 12, 16])}, {x: (FLOAT, [1, 4, 24, 32]), classes: (INT64, [1, 24, 32])})


def deeplab() -> ModelProto:
    """Dilated convolutions side by side, a pooled branch resized back by computed sizes."""
    build = Builder(22)
    x = convolved(build, "image", 3, 8, "stem", strides=[2, 2])
    branches = [convolved(build, x, 8, 4, f"aspp{rate}", dilations=[rate, rate]) for rate in (1, 2, 3)]
    pooled = convolved(build, build.node("GlobalAveragePool", x, name="pool"), 8, 4, "pooled", kernel=1)
    space = build.node(
        "Slice", build.node("Shape", x, name="shape"), numbers(build, 2), numbers(build, 4), name="space"
    )
    sizes = build.node("Concat", numbers(build, 1, 4), space, name="sizes", axis=0)
    linearly = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    pooled = build.node("Resize", pooled, "", "", sizes, name="grown", **linearly)
    x = convolved(build, build.node("Concat", *branches, pooled, name="cat", axis=1), 16, 5, "project", kernel=1)
    full = build.node("Concat", numbers(build, 1, 5), numbers(build, 14, 18), name="full", axis=0)
    x = build.node("Resize", x, "", "", full, name="masks", **linearly)
    return build.model({"image": (FLOAT, [1, 3, 14, 18])}, {x: (FLOAT, [1, 5, 14, 18])})


def detector() -> ModelProto:
    """A YOLO's head: two scales, SiLU, distributions over distances, boxes by anchor points."""
    build, bins, classes = Builder(23), 4, 3
    a = convolved(build, "image", 3, 8, "stem", act="", strides=[2, 2])
    a = build.node("Mul", a, build.node("Sigmoid", a, name="gate"), name="silu")
    half = build.node("Split", a, name="split", outputs=2, axis=1, num_outputs=2)
    a = build.node("Concat", convolved(build, half, 4, 4, "c2f"), f"{half}1", name="csp", axis=1)
    b = convolved(build, a, 8, 8, "next", strides=[2, 2])
    b = build.node("MaxPool", b, name="sppf", kernel_shape=[5, 5], pads=[2] * 4)
    up = build.node("Resize", b, "", build.constant("twice", np.array([1, 1, 2, 2], np.float32)), name="nearest",
                    mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    a = build.node("Concat", a, up, name="neck", axis=1)
    rows, points = [], []
    for at, (level, channels, size) in enumerate(((a, 16, 8), (b, 8, 4))):
        made = convolved(build, level, channels, 4 * bins + classes, f"head{at}", kernel=1, act="")
        rows.append(build.node("Reshape", made, numbers(build, 1, 4 * bins + classes, -1), name=f"flat{at}"))
        grid = np.stack(np.meshgrid(np.arange(size), np.arange(size)), 0).reshape(2, -1) + 0.5
        points.append(grid.astype(np.float32))
    whole = build.node("Concat", *rows, name="levels", axis=2)
    boxes = build.node("Split", whole, numbers(build, 4 * bins, classes), name="parts", outputs=2, axis=1)
    spread = build.node("Reshape", boxes, numbers(build, 1, 4, bins, -1), name="bins")
    shares = build.node("Softmax", build.node("Transpose", spread, name="dfl/t", perm=[0, 3, 1, 2]), name="dfl", axis=3)
    steps = build.constant("steps", np.arange(bins, dtype=np.float32).reshape(bins, 1))
    far = build.node(
        "Squeeze", build.node("MatMul", shares, steps, name="expected"), numbers(build, -1), name="squeeze"
    )
    far = build.node("Transpose", far, name="ltrb", perm=[0, 2, 1])
    near = build.node("Split", far, name="sides", outputs=2, axis=1, num_outputs=2)
    anchors = build.constant("anchors", np.concatenate(points, 1)[None])
    low, high = build.node("Sub", anchors, near, name="low"), build.node("Add", anchors, f"{near}1", name="high")
    scores = build.node("Sigmoid", f"{boxes}1", name="scores")
    result = build.node("Concat", low, high, scores, name="detections", axis=1)
    return build.model({"image": (FLOAT, [1, 3, 16, 16])}, {result: (FLOAT, [1, 4 + classes, 80])}, opset=18)


def swin() -> ModelProto:
    """A shifted window: roll by slices, windows cut out, attention with a bias table, and back."""
    build, hidden, side, window = Builder(24), 8, 8, 4
    last = np.iinfo(np.int64).max

    def roll(x: str, by: int, name: str) -> str:
        for axis in (1, 2):
            parts = [
                build.node(
                    "Slice", x, numbers(build, at), numbers(build, end), numbers(build, axis), name=f"{name}{axis}{n}"
                )
                for n, (at, end) in enumerate(((by, last), (0, by)))
            ]
            x = build.node("Concat", *parts, name=f"{name}{axis}", axis=axis)
        return x

    x = roll(normed(build, "x", hidden, "norm"), 2, "roll")
    cells = side // window
    x = build.node("Reshape", x, numbers(build, 1, cells, window, cells, window, hidden), name="cut")
    x = build.node("Transpose", x, name="order", perm=[0, 1, 3, 2, 4, 5])
    x = build.node("Reshape", x, numbers(build, -1, window * window, hidden), name="windows")
    qkv = linear(build, x, hidden, 3 * hidden, "qkv")
    parts = build.node("Reshape", qkv, numbers(build, cells * cells, window * window, 3, 2, hidden // 2), name="three")
    parts = build.node("Transpose", parts, name="apart", perm=[2, 0, 3, 1, 4])
    q, k, v = (
        build.node("Gather", parts, build.constant(f"at{n}", np.array(n)), name=f"take{n}", axis=0) for n in range(3)
    )
    places = build.constant("index", build.rng.integers(0, 49, window**4))
    bias = build.node("Gather", build.weight("table", 49, 2, scale=1.0), places, name="bias")
    bias = build.node("Reshape", bias, numbers(build, window * window, window * window, 2), name="square")
    bias = build.node(
        "Unsqueeze", build.node("Transpose", bias, name="first", perm=[2, 0, 1]), numbers(build, 0), name="one"
    )
    x = scaled_dot(build, q, k, v, hidden // 2, "attention", bias)
    x = joined(build, x, hidden, "attention", cells * cells)
    x = linear(build, x, hidden, hidden, "out")
    x = build.node("Reshape", x, numbers(build, 1, cells, cells, window, window, hidden), name="uncut")
    x = build.node("Transpose", x, name="reorder", perm=[0, 1, 3, 2, 4, 5])
    x = build.node("Reshape", x, numbers(build, 1, side, side, hidden), name="image")
    x = build.node("Add", "x", roll(x, -2, "unroll"), name="residual")
    return build.model({"x": (FLOAT, [1, side, side, hidden])}, {x: (FLOAT, [1, side, side, hidden])})


def gru_tagger() -> ModelProto:
    """Both directions of a GRU over embedded words, and a label for each."""
    build, hidden = Builder(25), 6
    x = build.node("Gather", build.weight("embed", 20, 5, scale=1.0), "words", name="embed")
    x = build.node("Transpose", x, name="time", perm=[1, 0, 2])
    weights = [
        build.weight(name, 2, *shape, scale=0.4)
        for name, shape in (("W", (3 * hidden, 5)), ("R", (3 * hidden, hidden)), ("B", (6 * hidden,)))
    ]
    x = build.node("GRU", x, *weights, name="gru", direction="bidirectional", hidden_size=hidden, linear_before_reset=1)
    x = build.node("Transpose", x, name="batch", perm=[2, 0, 1, 3])
    x = build.node("Reshape", x, numbers(build, 0, 0, -1), name="both")
    x = linear(build, x, 2 * hidden, 4, "label")
    return build.model({"words": (INT64, [2, 7])}, {x: (FLOAT, [2, 7, 4])})


def mixture_of_experts() -> ModelProto:
    """Each row goes through the two best of four experts: TopK, a scattered gate, all experts in one product."""
    build, hidden, experts = Builder(26), 8, 4
    scores = build.node("MatMul", "x", build.weight("router", hidden, experts, scale=1.0), name="router")
    top = build.node("TopK", scores, numbers(build, 2), name="top", outputs=2, axis=-1)
    shares = build.node("Softmax", top, name="shares", axis=-1)
    none = build.node("ConstantOfShape", build.node("Shape", scores, name="shape"), name="none")
    gate = build.node("ScatterElements", none, f"{top}1", shares, name="gate", axis=-1)
    each = build.node("Unsqueeze", "x", numbers(build, 0), name="each")
    inner = build.node("MatMul", each, build.weight("up", experts, hidden, 12, scale=0.4), name="up")
    inner = build.node("Mul", inner, build.node("Sigmoid", inner, name="sigmoid"), name="silu")
    made = build.node("MatMul", inner, build.weight("down", experts, 12, hidden, scale=0.4), name="down")
    wide = build.node(
        "Unsqueeze", build.node("Transpose", gate, name="turn", perm=[1, 0]), numbers(build, 2), name="wide"
    )
    mixed = build.node(
        "ReduceSum", build.node("Mul", made, wide, name="weighed"), numbers(build, 0), name="mix", keepdims=0
    )
    return build.model({"x": (FLOAT, [6, hidden])}, {mixed: (FLOAT, [6, hidden])})


def rotary_decoder() -> ModelProto:
    """A Llama's layer as exporters write it: angles from positions, a causal mask from a range, grouped queries."""
    build, hidden, count, groups, width, rows = Builder(27), 16, 4, 2, 4, 6
    x = build.node("Gather", build.weight("embed", 25, hidden, scale=1.0), "ids", name="embed")

    def rms(x: str, name: str) -> str:
        square = build.node("Pow", x, build.constant(f"{name}.two", np.float32(2)), name=f"{name}/pow")
        mean = build.node("ReduceMean", square, name=f"{name}/mean", axes=[-1])
        root = build.node(
            "Sqrt", build.node("Add", mean, build.constant(f"{name}.eps", np.float32(1e-5)), name=f"{name}/eps")
        )
        whole = build.node("Mul", x, build.node("Reciprocal", root, name=f"{name}/inverse"), name=f"{name}/normed")
        return build.node(
            "Mul", build.weight(f"{name}.weight", hidden, scale=0.1, around=1), whole, name=f"{name}/scaled"
        )

    steps = build.constant("frequencies", np.array([[1.0], [0.1]], np.float32))
    length = build.node(
        "Gather", build.node("Shape", "ids", name="shape"), build.constant("one", np.array(1)), name="length"
    )
    zero, one = build.constant("zero", np.array(0)), "one"
    ramp = build.node("Range", zero, length, one, name="range")
    place = build.node("Unsqueeze", build.node("Cast", ramp, name="float", to=FLOAT), numbers(build, 0), name="row")
    angles = build.node("Transpose", build.node("MatMul", steps, place, name="angles"), name="by_row", perm=[1, 0])
    angles = build.node("Concat", angles, angles, name="twice", axis=-1)
    cosine, sine = build.node("Cos", angles, name="cos"), build.node("Sin", angles, name="sin")

    def turned(x: str, name: str) -> str:
        low = build.node("Slice", x, numbers(build, 0), numbers(build, 2), numbers(build, 3), name=f"{name}/low")
        high = build.node("Slice", x, numbers(build, 2), numbers(build, 2**62), numbers(build, 3), name=f"{name}/high")
        half = build.node("Concat", build.node("Neg", high, name=f"{name}/neg"), low, name=f"{name}/half", axis=-1)
        straight = build.node("Mul", x, cosine, name=f"{name}/cos")
        return build.node("Add", straight, build.node("Mul", half, sine, name=f"{name}/sin"), name=f"{name}/turned")

    y = rms(x, "norm")
    q = turned(heads(build, linear(build, y, hidden, hidden, "q"), count, width, "q"), "q")
    k = turned(heads(build, linear(build, y, hidden, groups * width, "k"), groups, width, "k"), "k")
    v = heads(build, linear(build, y, hidden, groups * width, "v"), groups, width, "v")
    for name, each in (("k", k), ("v", v)):
        wide = build.node("Unsqueeze", each, numbers(build, 2), name=f"{name}/wide")
        wide = build.node(
            "Expand", wide, numbers(build, 1, groups, count // groups, rows, width), name=f"{name}/repeat"
        )
        again = build.node("Reshape", wide, numbers(build, 1, count, rows, width), name=f"{name}/all")
        k, v = (again, v) if name == "k" else (k, again)
    lowest = build.constant("lowest", np.full((rows, rows), np.finfo(np.float32).min, np.float32))
    mask = build.node("Trilu", lowest, one, name="causal", upper=1)
    mixed = joined(build, scaled_dot(build, q, k, v, width, "attention", mask), hidden, "attention")
    x = build.node("Add", x, linear(build, mixed, hidden, hidden, "out"), name="residual")
    return build.model({"ids": (INT64, [1, rows])}, {x: (FLOAT, [1, rows, hidden])})


def bucketed_encoder() -> ModelProto:
    """A T5's layer: a bias by stored distances in buckets, a stored mask and the caller's, norms without a mean."""
    build, hidden, count, rows = Builder(28), 12, 2, 10
    x = build.node("Gather", build.weight("embed", 18, hidden, scale=1.0), "ids", name="embed")
    squares = build.node("ReduceMean", build.node("Mul", x, x, name="square"), name="mean", axes=[-1])
    root = build.node(
        "Sqrt", build.node("Add", squares, build.constant("eps", np.float32(1e-6)), name="add"), name="root"
    )
    y = build.node("Mul", build.node("Div", x, root, name="div"), build.weight("norm", hidden, around=1), name="norm")
    places = np.arange(rows)
    far = build.node("Constant", name="far", value=numpy_helper.from_array(places[None] - places[:, None]))
    below = build.node("Less", far, build.constant("zero", np.array(0)), name="below")
    near = build.node("Less", build.node("Abs", far, name="abs"), build.constant("four", np.array(4)), name="near")
    wide = build.node(
        "Where", near, build.node("Abs", far, name="steps"), build.constant("most", np.array(4)), name="bucket"
    )
    side = build.node(
        "Mul", build.node("Cast", below, name="side", to=INT64), build.constant("half", np.array(5)), name="side5"
    )
    bucket = build.node("Add", wide, side, name="buckets")
    bias = build.node("Gather", build.weight("table", 10, count, scale=1.0), bucket, name="bias")
    bias = build.node(
        "Unsqueeze", build.node("Transpose", bias, name="first", perm=[2, 0, 1]), numbers(build, 0), name="one"
    )
    causal = build.constant("causal", np.tril(np.ones((rows, rows), bool)))
    seen = build.node(
        "Unsqueeze", build.node("Cast", "mask", name="truth", to=TensorProto.BOOL), numbers(build, 1, 2), name="seen"
    )
    shown = build.node(
        "And", build.node("Not", build.node("Not", causal, name="not"), name="causal2"), seen, name="shown"
    )
    lowest = build.constant("lowest", np.float32(np.finfo(np.float32).min))
    masked = build.node("Where", shown, bias, lowest, name="masked")
    parts = [linear(build, y, hidden, hidden, part) for part in "qkv"]
    q, k, v = (heads(build, each, count, hidden // count, part) for each, part in zip(parts, "qkv", strict=True))
    mixed = joined(build, scaled_dot(build, q, k, v, hidden // count, "attention", masked), hidden, "attention")
    x = build.node("Add", x, linear(build, mixed, hidden, hidden, "out"), name="residual")
    return build.model({"ids": (INT64, [1, rows]), "mask": (INT64, [1, rows])}, {x: (FLOAT, [1, rows, hidden])})


ARCHITECTURES: Mapping[str, Callable[[], ModelProto]] = MappingProxyType(
    {
        made.__name__: made
        for made in (
            speech_decoder, unet, deeplab, detector, swin, gru_tagger, mixture_of_experts, rotary_decoder,
            bucketed_encoder,
        )
    }
)  # fmt: skip
