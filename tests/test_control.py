"""Tests that subgraphs whose control is known give what onnxruntime gives, and that each of their nodes is
somewhere: taken, run several times, or listed as never run."""

import numpy as np
import pytest
from chain import Chain
from networks import onnxruntime_outputs
from onnx import AttributeProto, TensorProto, helper, numpy_helper

import tstorch
from tstorch.diagnostics import DiagnosticError
from tstorch.runtime.client import Worker

pytestmark = pytest.mark.gpu

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    with Worker.start() as worker:
        yield Chain(worker, tmp_path_factory.mktemp("control"))


def value(name: str, kind: int = FLOAT, shape: object = None):
    return helper.make_tensor_value_info(name, kind, shape)


def graph(nodes: list, inputs: list, outputs: list, constants: dict | None = None, name: str = "g"):
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()]
    return helper.make_graph(nodes, name, inputs, outputs, tensors)


def model(nodes: list, constants: dict, outputs: tuple = ("y",), functions: list | None = None):
    whole = graph(nodes, [value("x", FLOAT, X.shape)], [value(name) for name in outputs], constants)
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
    return helper.make_model(whole, opset_imports=imports, ir_version=9, functions=functions or [])


def node(kind: str, inputs: list, outputs: list, **attributes):
    return helper.make_node(kind, inputs, outputs, name=f"n_{outputs[0]}", **attributes)


def branches(then: list, other: list, out: str = "y"):
    """An If on `c` whose branches are these nodes; the last one's output is the branch's."""
    made = [graph(nodes, [], [value(nodes[-1].output[0])]) for nodes in (then, other)]
    return node("If", ["c"], [out], then_branch=made[0], else_branch=made[1])


def running_sum(bound: list, step: str = "v2"):
    """A Loop that adds x to a state and gives out each state: `bound` are its first two inputs."""
    body = graph(
        [node("Add", ["v", "x"], ["v2"]), node("Identity", ["go"], ["go2"]), node("Mul", [step, "v2"], ["row"])],
        [value("i", INT64, []), value("go", BOOL, []), value("v", FLOAT, X.shape)],
        [value("go2", BOOL, []), value("v2"), value("row")],
    )
    return node("Loop", [*bound, "x"], ["last", "y"], body=body)


def scan(**attributes):
    """A Scan that decays a state by a captured factor; its output is the state of each step."""
    body = graph(
        [node("Mul", ["s", "half"], ["d"]), node("Add", ["d", "e"], ["s2"]), node("Identity", ["s2"], ["row"])],
        [value("s"), value("e")],
        [value("s2"), value("row")],
    )
    return node("Scan", ["s0", "x"], ["last", "y"], body=body, num_scan_inputs=1, **attributes)


def counted_until():
    """A Loop without a bound that ends when its counter reaches 3."""
    body = graph(
        [
            node("Add", ["k", "one"], ["k2"]), node("Less", ["k2", "three"], ["go2"]), node("Mul", ["v", "x"], ["v2"]),
        ],
        [value("i", INT64, []), value("go", BOOL, []), value("k", INT64, []), value("v")],
        [value("go2", BOOL, []), value("k2", INT64, []), value("v2")],
    )  # fmt: skip
    return node("Loop", ["", "yes", "zero", "x"], ["count", "y"], body=body)


def conditional_function():
    """A function of the model's own with an If on an attribute."""
    nodes = [
        helper.make_node("Constant", [], ["number"]),
        helper.make_node("Cast", ["number"], ["c"], to=BOOL),
        branches([node("Exp", ["a"], ["b1"])], [node("Neg", ["a"], ["b2"])], "b"),
    ]
    nodes[0].attribute.add(name="value_int", ref_attr_name="flag", type=AttributeProto.INT)
    return helper.make_function("own", "Choose", ["a"], ["b"], nodes, [helper.make_opsetid("", 21)], ["flag"])


EXP, NEG = node("Exp", ["x"], ["a"]), node("Neg", ["x"], ["b"])
NESTED = branches(
    [node("Exp", ["x"], ["a"]), branches([node("Neg", ["a"], ["p"])], [node("Abs", ["a"], ["q"])], "r")], [NEG]
)
CASES = {
    "branch taken": model([branches([EXP], [NEG])], {"c": True}),
    "branch not taken": model([branches([EXP], [NEG])], {"c": False}),
    "branches inside": model([NESTED], {"c": True}),
    "condition of shapes": model(
        [node("Shape", ["x"], ["s"]), node("ReduceProd", ["s"], ["n"], keepdims=0), node("Less", ["n", "many"], ["c"]),
         branches([EXP], [NEG])], {"many": np.int64(20)},
    ),
    "loop": model([running_sum(["n", "yes"])], {"n": np.int64(4), "yes": True}, ("last", "y")),
    "loop without a condition": model([running_sum(["n", ""])], {"n": np.int64(9)}, ("last", "y")),
    "loop that never runs": model([running_sum(["n", "no"])], {"n": np.int64(4), "no": False}, ("last",)),
    "loop until": model(
        [counted_until()], {"yes": True, "zero": np.int64(0), "one": np.int64(1), "three": np.int64(3)}
    ),
    "scan": model([scan()], {"s0": np.zeros(4, np.float32), "half": np.float32(0.5)}, ("last", "y")),
    "scan backwards": model(
        [scan(scan_input_directions=[1], scan_output_directions=[1])],
        {"s0": np.zeros(4, np.float32), "half": np.float32(0.5)}, ("last", "y"),
    ),
    "scan along the last axis": model(
        [scan(scan_input_axes=[-1], scan_output_axes=[-1])],
        {"s0": np.zeros(3, np.float32), "half": np.float32(0.5)}, ("last", "y"),
    ),
    "function": model(
        [helper.make_node("Choose", ["x"], ["y"], domain="own", flag=1, name="call")], {},
        functions=[conditional_function()],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_like_onnxruntime_and_every_node_is_somewhere(case, chain):
    compiled = chain.compiled(CASES[case])
    found = chain.run(compiled, {"x": X})
    for name, want in onnxruntime_outputs(CASES[case], {"x": X}).items():
        np.testing.assert_allclose(found[name], want, rtol=1e-5, atol=1e-6)
    nodes = compiled.artifact.nodes
    assert {entry["id"] for entry in nodes} >= {n.name for n in CASES[case].graph.node}
    assert all(entry["where"] in ("run", "init") or entry["reason"] for entry in nodes)


def where(compiled) -> dict:
    return {entry["id"]: (entry["where"], entry["reason"]) for entry in compiled.artifact.nodes}


def test_a_branch_that_is_not_taken_is_listed_and_may_hold_anything(chain):
    unknown = node("RandomNormalLike", ["x"], ["b"])
    found = where(chain.compiled(model([branches([EXP], [unknown])], {"c": True})))
    assert found == {
        "n_y": ("elided", "resolved: the nodes of its subgraph stand in its place"),
        "n_y/then_branch/n_a": ("run", ""),
        "n_y/else_branch/n_b": ("elided", "dead: its subgraph never runs"),
    }


def test_the_copies_of_a_body_are_all_its_nodes(chain):
    compiled = chain.compiled(CASES["loop"])
    served = [share["id"] for dispatch in compiled.artifact.dispatches for share in dispatch["shares"]]
    assert served
    assert set(served) <= {"n_last/body/n_v2", "n_last/body/n_row", "n_last"}


ITSELF = graph([], [], [value("x")])
BAD = {
    "a body of another number of inputs": (
        [node("Loop", ["n", "", "x"], ["y"], body=graph([], [value("i", INT64, [])], [value("i")]))],
        "body takes 1 inputs; the node gives it 3",
    ),
    "an output that nothing computes": (
        [node("If", ["c"], ["y"], then_branch=graph([], [], [value("ghost")]), else_branch=ITSELF)],
        "ghost",
    ),
    "an input that nothing computes": ([branches([node("Exp", ["ghost"], ["a"])], [NEG])], "ghost"),
    "an unknown operator taken": ([branches([node("RandomNormalLike", ["x"], ["a"])], [NEG])], "RandomNormalLike"),
    "no branch": ([node("If", ["c"], ["y"], else_branch=ITSELF)], "then_branch is missing"),
    "axes of another number": ([scan(scan_input_axes=[0, 1])], "one entry each"),
    "an axis that is not there": ([scan(scan_input_axes=[5])], "axis 5"),
    "more sequences than inputs": (
        [node("Scan", ["x"], ["y"], num_scan_inputs=3, body=graph([], [value("e")], [value("e")]))],
        "num_scan_inputs is 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_control_is_refused_by_name(case):
    nodes, message = BAD[case]
    constants = {
        "c": True, "n": np.int64(2), "s0": np.zeros(4, np.float32), "half": np.float32(0.5),
    }  # fmt: skip
    with pytest.raises(DiagnosticError, match=message):
        tstorch.load(model(nodes, constants))


def test_the_defaults_of_attributes_hold_within_a_body_that_the_host_repeats():
    """A Gather that leaves out its axis, in a Loop as often as an input says."""
    body = graph(
        [node("Gather", ["x", "i"], ["row"]), node("Add", ["v", "row"], ["v2"]), node("Identity", ["go"], ["go2"])],
        [value("i", INT64, []), value("go", BOOL, []), value("v", FLOAT, [4])],
        [value("go2", BOOL, []), value("v2", FLOAT, [4])],
    )
    inputs = [value("x", FLOAT, X.shape), value("n", INT64, []), value("start", FLOAT, [4])]
    whole = graph([node("Loop", ["n", "", "start"], ["y"], body=body)], inputs, [value("y", FLOAT, [4])])
    made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 21)], ir_version=9)
    with tstorch.load(made) as loaded:
        found = loaded.run({"x": X, "n": np.array(2), "start": np.ones(4, np.float32)})
    np.testing.assert_allclose(found["y"], 1 + X[0] + X[1], rtol=1e-6)
