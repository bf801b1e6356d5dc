"""Small models whose control or sizes hang on data."""

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
RANDOM = np.random.default_rng(7)
WEIGHTS = {name: RANDOM.standard_normal((4, 4)).astype(np.float32) / 2 for name in ("a", "b")}


def info(name, kind=FLOAT, shape=()):
    return helper.make_tensor_value_info(name, kind, shape)


def node(kind, takes, gives, name=None, **attributes):
    return helper.make_node(kind, takes, gives, name=name or gives[0], **attributes)


def made(nodes, takes, gives, constants=None, opset=18) -> ModelProto:
    """A model that any onnxruntime of these years reads."""
    given = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    graph = helper.make_graph(nodes, "model", takes, gives, given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def branching() -> ModelProto:
    """x @ a where the sum of x is positive, else tanh(x @ b): weights in both branches, x captured."""
    then = helper.make_graph([node("MatMul", ["x", "a"], ["t"])], "then", [], [info("t", shape=(3, 4))])
    inner = [node("MatMul", ["x", "b"], ["m"]), node("Tanh", ["m"], ["e"])]
    other = helper.make_graph(inner, "else", [], [info("e", shape=(3, 4))])
    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Greater", ["sum", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], "choose", then_branch=then, else_branch=other),
        node("Neg", ["y"], ["z"]),
    ]
    return made(nodes, [info("x", shape=(3, 4))], [info("z", shape=(3, 4))], {**WEIGHTS, "zero": np.float32(0)})


def looping(body_extra=(), stacked=False) -> ModelProto:
    """x becomes tanh(x @ a) + x while its largest element is below `limit`, `most` times at most."""
    inner = [
        node("MatMul", ["v", "a"], ["m"]),
        node("Tanh", ["m"], ["t"]),
        node("Add", ["t", "v"], ["w"]),
        node("ReduceMax", ["w"], ["top"], keepdims=0),
        node("Less", ["top", "limit"], ["again"]),
        *body_extra,
    ]
    gives = [info("again", BOOL), info("w", shape=(3, 4))] + [info("t", shape=(3, 4))] * stacked
    body = helper.make_graph(inner, "body", [info("i", INT), info("going", BOOL), info("v", shape=(3, 4))], gives)
    nodes = [node("Loop", ["most", "start", "x"], ["y", *["all"] * stacked], "loop", body=body)]
    outputs = [info("y", shape=(3, 4))] + [info("all", shape=(None, 3, 4))] * stacked
    takes = [info("most", INT), info("start", BOOL), info("limit"), info("x", shape=(3, 4))]
    return made(nodes, takes, outputs, {"a": WEIGHTS["a"]})


def nested() -> ModelProto:
    """A loop that adds or takes away, by what an If in its body finds; the trip count is an input."""
    then = helper.make_graph([node("Add", ["v", "step"], ["up"])], "then", [], [info("up", shape=(2,))])
    other = helper.make_graph([node("Mul", ["v", "step"], ["down"])], "else", [], [info("down", shape=(2,))])
    inner = [
        node("ReduceSum", ["v"], ["s"], keepdims=0),
        node("Less", ["s", "limit"], ["small"]),
        node("If", ["small"], ["w"], "choose", then_branch=then, else_branch=other),
        node("Identity", ["going"], ["again"]),
    ]
    takes = [info("i", INT), info("going", BOOL), info("v", shape=(2,))]
    body = helper.make_graph(inner, "body", takes, [info("again", BOOL), info("w", shape=(2,))])
    nodes = [node("Loop", ["most", "", "x"], ["y"], "loop", body=body)]
    constants = {"step": np.float32([0.5, -0.25]), "limit": np.float32(2)}
    return made(nodes, [info("most", INT), info("x", shape=(2,))], [info("y", shape=(2,))], constants)


def picking() -> ModelProto:
    """The elements of x that are not 0, squared, and where they stand: sizes that only a run tells."""
    nodes = [
        node("NonZero", ["x"], ["at"], "where"),
        node("Transpose", ["at"], ["rows"], perm=[1, 0]),
        node("GatherND", ["x", "rows"], ["found"]),
        node("Mul", ["found", "found"], ["y"]),
    ]
    return made(nodes, [info("x", shape=(3, 4))], [info("at", INT, (2, None)), info("y", shape=(None,))])


def fibonacci() -> ModelProto:
    """(a, b) becomes (b, a + b): what is carried changes places."""
    inner = [node("Add", ["a", "b"], ["c"]), node("Identity", ["b"], ["n"]), node("Identity", ["going"], ["again"])]
    takes = [info("i", INT), info("going", BOOL), info("a", shape=(2,)), info("b", shape=(2,))]
    gives = [info("again", BOOL), info("n", shape=(2,)), info("c", shape=(2,))]
    body = helper.make_graph(inner, "body", takes, gives)
    nodes = [node("Loop", ["most", "", "x", "x"], ["y", "z"], "loop", body=body)]
    return made(nodes, [info("most", INT), info("x", shape=(2,))], [info("y", shape=(2,)), info("z", shape=(2,))])


def doubling() -> ModelProto:
    """x grows by a copy of itself at each iteration: a loop that changes shapes."""
    inner = [node("Concat", ["v", "v"], ["w"], axis=0), node("Identity", ["going"], ["again"])]
    takes = [info("i", INT), info("going", BOOL), info("v", shape=(None,))]
    body = helper.make_graph(inner, "body", takes, [info("again", BOOL), info("w", shape=(None,))])
    nodes = [node("Loop", ["most", "", "x"], ["y"], "loop", body=body)]
    return made(nodes, [info("most", INT), info("x", shape=(3,))], [info("y", shape=(None,))])


def stacking_bytes() -> ModelProto:
    """A loop that gives three bytes, and three truth values, of each iteration."""
    inner = [
        node("Add", ["v", "one"], ["w"]),
        node("Greater", ["w", "two"], ["large"]),
        node("Cast", ["w"], ["byte"], to=TensorProto.UINT8),
        node("Identity", ["going"], ["again"]),
    ]
    kinds = [("large", BOOL), ("byte", TensorProto.UINT8)]
    takes = [info("i", INT), info("going", BOOL), info("v", shape=(3,))]
    gives = [info("again", BOOL), info("w", shape=(3,)), *(info(name, kind, (3,)) for name, kind in kinds)]
    body = helper.make_graph(inner, "body", takes, gives)
    nodes = [node("Loop", ["most", "", "x"], ["y", "larges", "bytes"], "loop", body=body)]
    outputs = [info("y", shape=(3,)), *(info(f"{name}s", kind, (None, 3)) for name, kind in kinds)]
    constants = {"one": np.float32(1), "two": np.float32(2)}
    return made(nodes, [info("most", INT), info("x", shape=(3,))], outputs, constants)


def ramping() -> ModelProto:
    """The numbers from x on, one an iteration: the first element is an input itself, the others are computed."""
    inner = [
        node("Identity", ["v"], ["element"]),
        node("Add", ["v", "step"], ["w"]),
        node("Identity", ["going"], ["again"]),
    ]
    takes = [info("i", INT), info("going", BOOL), info("v")]
    body = helper.make_graph(inner, "body", takes, [info("again", BOOL), info("w"), info("element")])
    nodes = [node("Loop", ["most", "", "x"], ["y", "all"], "loop", body=body)]
    constants = {"step": np.float32(2)}
    return made(nodes, [info("most", INT), info("x")], [info("y"), info("all", shape=(None,))], constants)


def patient(iterations) -> ModelProto:
    """x + 1, as often as is known: a loop that is too long to stand unrolled."""
    inner = [node("Add", ["v", "one"], ["w"]), node("Identity", ["going"], ["again"])]
    takes = [info("i", INT), info("going", BOOL), info("v", shape=(3,))]
    body = helper.make_graph(inner, "body", takes, [info("again", BOOL), info("w", shape=(3,))])
    nodes = [node("Loop", ["most", "", "x"], ["y"], "loop", body=body)]
    constants = {"one": np.float32(1), "most": np.array(iterations)}
    return made(nodes, [info("x", shape=(3,))], [info("y", shape=(3,))], constants)


def doubling_integers() -> ModelProto:
    """A 64-bit integer doubled until it reaches a limit that no 32 bits hold."""
    inner = [node("Add", ["c", "c"], ["d"]), node("Less", ["d", "limit"], ["again"])]
    takes = [info("i", INT), info("going", BOOL), info("c", INT)]
    body = helper.make_graph(inner, "body", takes, [info("again", BOOL), info("d", INT)])
    nodes = [node("Loop", ["", "start", "x"], ["y"], "loop", body=body)]
    return made(nodes, [info("x", INT), info("limit", INT)], [info("y", INT)], {"start": np.array(True)})


def reshaping() -> ModelProto:
    """x in rows of as many as the largest of n says, then tanh: a shape that is computed from data."""
    nodes = [
        node("ReduceMax", ["n"], ["rows"], keepdims=1),
        node("Concat", ["rows", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["r"]),
        node("Tanh", ["r"], ["y"]),
    ]
    takes = [info("n", INT, (2,)), info("x", shape=(3, 4))]
    return made(nodes, takes, [info("y", shape=(None, None))], {"rest": np.array([-1])})


def counting_in_a_loop() -> ModelProto:
    """How many elements are not 0, while all shrink: sizes that a run tells, in a body."""
    inner = [
        node("NonZero", ["v"], ["at"]),
        node("Shape", ["at"], ["sizes"]),
        node("Gather", ["sizes", "one"], ["size"]),
        node("Cast", ["size"], ["count"], to=FLOAT),
        node("Sub", ["v", "half"], ["less"]),
        node("Relu", ["less"], ["w"]),
        node("Identity", ["going"], ["again"]),
    ]
    takes = [info("i", INT), info("going", BOOL), info("v", shape=(4,))]
    body = helper.make_graph(inner, "body", takes, [info("again", BOOL), info("w", shape=(4,)), info("count")])
    nodes = [node("Loop", ["most", "", "x"], ["y", "counts"], "loop", body=body)]
    outputs = [info("y", shape=(4,)), info("counts", shape=(None,))]
    constants = {"half": np.float32(0.5), "one": np.array(1)}
    return made(nodes, [info("most", INT), info("x", shape=(4,))], outputs, constants)


def branches_of_two_shapes() -> ModelProto:
    """The first rows of x where its sum is positive, else all of them; then exp."""
    then = helper.make_graph([node("Slice", ["x", "from", "to"], ["t"])], "then", [], [info("t", shape=(2, 4))])
    other = helper.make_graph([node("Neg", ["x"], ["e"])], "else", [], [info("e", shape=(3, 4))])
    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Greater", ["sum", "zero"], ["positive"]),
        node("If", ["positive"], ["y"], "choose", then_branch=then, else_branch=other),
        node("Exp", ["y"], ["z"]),
    ]
    constants = {"zero": np.float32(0), "from": np.array([0]), "to": np.array([2])}
    return made(nodes, [info("x", shape=(3, 4))], [info("z", shape=(None, 4))], constants)


def picking_in_a_known_branch() -> ModelProto:
    """As torch exports `if boxes.numel() > 0`: a condition of shapes, and in the branch a size that only a run tells.
    Behind it stands a table of more numbers than a constant holds, and what is looked up may be nothing."""
    inner = [node("NonZero", ["x"], ["at"], "where"), node("Squeeze", ["at", "first"], ["t"])]
    then = helper.make_graph(inner, "then", [], [info("t", INT, (None,))])
    other = helper.make_graph([node("Identity", ["first"], ["e"])], "else", [], [info("e", INT, (1,))])
    nodes = [
        node("Size", ["x"], ["size"]),
        node("Greater", ["size", "zero"], ["some"]),
        node("If", ["some"], ["found"], "choose", then_branch=then, else_branch=other),
        node("Range", ["zero", "hundred", "one"], ["table"]),
        node("Gather", ["table", "found"], ["mine"]),
        node("Gather", ["mine", "none"], ["nothing"]),
        node("Concat", ["mine", "nothing"], ["y"], axis=0),
    ]
    constants = {"zero": 0, "one": 1, "hundred": 100, "first": np.array([0]), "none": np.zeros(0, np.int64)}
    return made(nodes, [info("x", shape=(12,))], [info("y", INT, (None,))], constants)
