"""Tests that models come in whole and under their own names, and that bad ones are refused with one clear message."""

import hashlib
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from models import SMALL, Builder, cnn, mlp, one_node, residual_network, transformer_block
from onnx import ModelProto, TensorProto, helper, numpy_helper
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp

from tstorch.diagnostics import OnnxImportError, UsageError
from tstorch.dialects.onnx import InitializerOp, NodeOp, plain
from tstorch.frontend import WeightStore, import_model
from tstorch.levels import get_dims, get_source
from tstorch.locations import node_ids
from tstorch.remarks import elided_nodes
from tstorch.testing import assert_round_trip
from tstorch.verification import verify_module


def nodes(module: ModuleOp) -> list[NodeOp]:
    return [op for op in module.walk() if isinstance(op, NodeOp)]


def ids(module: ModuleOp) -> list[str]:
    return [name for op in nodes(module) for name in node_ids(op)]


def held(module: ModuleOp) -> dict[str, InitializerOp]:
    return {op.initializer_name: op for op in module.walk() if isinstance(op, InitializerOp)}


def main(module: ModuleOp) -> FuncOp:
    return next(op for op in module.ops if isinstance(op, FuncOp))


def arguments(module: ModuleOp) -> list[dict]:
    return [entry.data for entry in main(module).arg_attrs or ()]


def listed(module: ModuleOp) -> list[dict[str, str]]:
    entries = module.attributes["tst.nodes"]
    assert isinstance(entries, ArrayAttr)
    return [{key: value.data for key, value in entry.data.items()} for entry in entries]


def graph_model(
    node_protos, inputs=("x",), outputs=("y",), opset=17, stored=(), functions=(), domains=()
) -> ModelProto:
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in names]
        for names in (inputs, outputs)
    ]
    graph = helper.make_graph(node_protos, "g", *values, initializer=stored)
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=9)


@pytest.mark.parametrize("name", SMALL)
def test_an_imported_model_verifies_and_comes_back_from_its_text(name):
    module = import_model(SMALL[name]())
    verify_module(module)
    assert_round_trip(module)


def test_every_node_is_one_op_under_its_own_name():
    model = residual_network()
    assert ids(import_model(model)) == [node.name for node in model.graph.node]


def test_a_node_without_a_unique_name_is_called_after_its_output():
    model = graph_model([
        helper.make_node("Relu", ["x"], ["a"], name="same"),
        helper.make_node("Relu", ["a"], ["b"], name="same"),
        helper.make_node("Relu", ["b"], ["y"]),
    ])  # fmt: skip
    assert ids(import_model(model)) == ["a", "b", "y"]


def test_ids_are_unique_where_names_and_outputs_collide():
    model = graph_model([
        helper.make_node("Relu", ["x"], ["a"], name="y"),
        helper.make_node("Relu", ["a"], ["y"]),
    ])  # fmt: skip
    assert ids(import_model(model)) == ["y", "y#2"]


def test_nodes_of_a_subgraph_carry_the_scopes_around_them():
    def branch(op_type):
        value = helper.make_tensor_value_info(op_type, TensorProto.FLOAT, [2, 3])
        return helper.make_graph([helper.make_node(op_type, ["x"], [op_type], name="inner")], op_type, [], [value])

    choice = helper.make_node("If", ["c"], ["y"], name="choice", then_branch=branch("Neg"), else_branch=branch("Relu"))
    model = graph_model([choice])
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    module = import_model(model)
    verify_module(module)
    assert ids(module) == ["choice", "choice/else_branch/inner", "choice/then_branch/inner"]
    assert {entry["id"] for entry in listed(module)} == set(ids(module))


def test_a_function_of_the_model_is_put_in_the_place_of_its_calls():
    body = [
        helper.make_node("Relu", ["a"], ["t"], name="relu"),
        helper.make_node("LeakyRelu", ["t"], ["b"], name="leaky"),
    ]
    given = onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
    body[1].attribute.append(given)
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("mine", "Twice", ["a"], ["b"], body, opsets, attributes=["slope"])
    calls = [
        helper.make_node("Twice", ["x"], ["m"], name="one", domain="mine", slope=0.5),
        helper.make_node("Twice", ["m"], ["y"], name="two", domain="mine", slope=0.25),
    ]
    module = import_model(graph_model(calls, functions=[function], domains=["mine"]))
    verify_module(module)
    assert ids(module) == ["one/relu", "one/leaky", "two/relu", "two/leaky"]
    assert [op.attribute("alpha") for op in nodes(module) if "alpha" in op.properties] == [0.5, 0.25]
    assert elided_nodes(module).keys() == {"one", "two"}


def test_a_function_that_calls_itself_is_refused():
    body = [helper.make_node("Loop_", ["a"], ["b"], domain="mine", name="again")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    function = helper.make_function("mine", "Loop_", ["a"], ["b"], body, opsets)
    model = graph_model(
        [helper.make_node("Loop_", ["x"], ["y"], domain="mine")], functions=[function], domains=["mine"]
    )
    with pytest.raises(OnnxImportError, match="function Loop_ calls itself"):
        import_model(model)


def test_nodes_out_of_order_are_put_in_order():
    model = graph_model([helper.make_node("Neg", ["a"], ["y"]), helper.make_node("Relu", ["x"], ["a"])])
    assert ids(import_model(model)) == ["a", "y"]


def test_the_pytorch_module_and_source_line_are_kept():
    node = helper.make_node("Relu", ["x"], ["a"], name="r")
    notes = {
        "pkg.torch.onnx.name_scopes": "['', 'layer1', 'layer1.0', 'layer1.0.relu', 'relu']",
        "pkg.torch.onnx.stack_trace": 'File "a/resnet.py", line 90, in forward\nFile "b/block.py", line 7, in f\n  x',
    }
    node.metadata_props.extend(onnx.StringStringEntryProto(key=key, value=value) for key, value in notes.items())
    spaced = helper.make_node("Neg", ["a"], ["y"], name="/encoder/layer.5/attn/Neg")
    older = helper.make_node("Abs", ["y"], ["z"], name="n")
    namespace = ": pkg.Model/body: pkg.Body/body.2: torch.nn.modules.conv.Conv2d/abs: aten.abs"
    older.metadata_props.append(onnx.StringStringEntryProto(key="namespace", value=namespace))
    entries = listed(import_model(graph_model([node, spaced, older], outputs=["z"])))
    assert [entry["module"] for entry in entries] == ["layer1.0.relu", "encoder.layer.5.attn", "body.2"]
    assert [entry["source"] for entry in entries] == ["block.py:7", "", ""]


def test_settings_are_inline_and_weights_are_references():
    block = held(import_model(transformer_block()))
    assert {name for name, op in block.items() if op.value is not None} == {
        "split_heads", "join_heads", "root", "root2", "one", "half", "far", "mask_axes",
    }  # fmt: skip
    assert all(op.value is None for op in held(import_model(cnn())).values())


def test_a_small_initializer_that_is_to_be_trained_stays_a_reference():
    block = held(import_model(transformer_block(), keep=["half"]))
    assert block["half"].value is None
    assert block["one"].value is not None


class TestWeights:
    """Where the bytes lie, and that they are what they are said to be."""

    def references(self, module):
        return [op.weight.names for op in module.walk() if isinstance(op, InitializerOp) and op.weight is not None]

    def arrays(self, model):
        return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}

    def check(self, path: Path, model: ModelProto):
        store = WeightStore()
        module = import_model(path, {"batch": 1}, store)
        names, arrays = self.references(module), self.arrays(model)
        assert len(names) == 6
        for reference in names:
            expected = arrays[reference["key"]]
            np.testing.assert_array_equal(store.array(**reference), expected)
            source = store.sources([tuple(reference.values())])[reference["digest"]]
            with open(source["path"], "rb") as file:
                file.seek(source["offset"])
                assert file.read(source["bytes"]) == expected.tobytes()
            assert reference["digest"] == hashlib.sha256(expected.tobytes()).hexdigest()
        return store, names

    def test_raw_bytes_are_read_in_place(self, tmp_path):
        onnx.save(mlp(), tmp_path / "m.onnx")
        store, names = self.check(tmp_path / "m.onnx", mlp())
        assert {store.stored(**name).path for name in names} == {tmp_path / "m.onnx"}

    def test_packed_floats_are_read_in_place(self, tmp_path):
        model = mlp()
        for tensor in model.graph.initializer:
            array = numpy_helper.to_array(tensor)
            tensor.ClearField("raw_data")
            tensor.float_data.extend(array.ravel().tolist())
        onnx.save(model, tmp_path / "m.onnx")
        store, names = self.check(tmp_path / "m.onnx", mlp())
        assert {store.stored(**name).path for name in names} == {tmp_path / "m.onnx"}

    def test_external_data_is_read_in_place(self, tmp_path):
        onnx.save(mlp(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
        store, names = self.check(tmp_path / "m.onnx", mlp())
        assert {store.stored(**name).path.name for name in names} == {"m.data"}

    def test_unpacked_integers_are_written_to_a_file_of_our_own(self, tmp_path):
        table = np.arange(100, dtype=np.int64).reshape(10, 10)
        stored = helper.make_tensor("_table", TensorProto.INT64, table.shape, table.ravel().tolist())
        model = one_node("Gather", {"_table": table, "ids": np.zeros(3, np.int64)}, 13)
        model.graph.initializer[0].CopyFrom(stored)
        onnx.save(model, tmp_path / "m.onnx")
        store = WeightStore()
        [reference] = self.references(import_model(tmp_path / "m.onnx", {}, store))
        np.testing.assert_array_equal(store.array(**reference), table)
        assert store.stored(**reference).path.parent != tmp_path

    def test_a_large_tensor_of_a_constant_node_has_a_key_of_its_own(self):
        tensor = numpy_helper.from_array(np.arange(100, dtype=np.float32), "t")
        model = graph_model([helper.make_node("Constant", [], ["y"], value=tensor)], inputs=())
        del model.graph.output[0].type.tensor_type.shape.dim[:]
        model.graph.output[0].type.tensor_type.shape.dim.add().dim_value = 100
        store = WeightStore()
        [node] = nodes(import_model(model, {}, store))
        weight = node.properties["value"].weight
        assert weight.key.data == "@0.value"
        np.testing.assert_array_equal(store.array(**weight.names), np.arange(100, dtype=np.float32))

    def test_text_finds_its_model_beside_it(self, tmp_path):
        onnx.save(mlp(), tmp_path / "m.onnx")
        [reference, *_] = self.references(import_model(tmp_path / "m.onnx", {"batch": 1}))
        np.testing.assert_array_equal(WeightStore([tmp_path]).array(**reference), self.arrays(mlp())[reference["key"]])

    def test_a_model_that_has_changed_since_is_refused(self, tmp_path):
        onnx.save(mlp(), tmp_path / "m.onnx")
        [reference, *_] = self.references(import_model(tmp_path / "m.onnx", {"batch": 1}))
        model = mlp()
        for tensor in model.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + 1, tensor.name))
        onnx.save(model, tmp_path / "m.onnx")
        with pytest.raises(OnnxImportError, match="has changed since"):
            WeightStore([tmp_path]).array(**reference)

    def test_a_missing_model_is_named(self, tmp_path):
        with pytest.raises(OnnxImportError, match=r"'gone\.onnx' was not found"):
            WeightStore([tmp_path]).array("gone.onnx", "w", "0")

    @pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "C:\\secret", "sub/../../secret", ""])
    def test_external_data_that_leaves_the_folder_is_refused(self, tmp_path, location):
        (tmp_path / "secret").write_bytes(bytes(1 << 20))
        folder = tmp_path / "model"
        folder.mkdir()
        onnx.save(mlp(), folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
        model = onnx.load(folder / "m.onnx", load_external_data=False)
        for entry in model.graph.initializer[0].external_data:
            entry.value = location if entry.key == "location" else entry.value
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(OnnxImportError, match="leaves the model's folder"):
            import_model(folder / "m.onnx", {"batch": 1})

    def test_a_link_that_leaves_the_folder_is_refused(self, tmp_path):
        folder = tmp_path / "model"
        folder.mkdir()
        onnx.save(mlp(), folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
        (folder / "m.data").rename(tmp_path / "elsewhere")
        (folder / "m.data").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(OnnxImportError, match="leaves the model's folder"):
            import_model(folder / "m.onnx", {"batch": 1})

    def test_truncated_external_data_is_refused(self, tmp_path):
        onnx.save(mlp(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
        (tmp_path / "m.data").write_bytes(bytes(10))
        with pytest.raises(OnnxImportError, match="truncated"):
            import_model(tmp_path / "m.onnx", {"batch": 1})

    def test_a_tensor_that_lies_about_its_size_is_refused(self):
        model = cnn()
        model.graph.initializer[0].dims[0] = 9
        with pytest.raises(OnnxImportError, match=r"holds 288 bytes, its shape \[9, 1, 3, 3\] of FLOAT needs 324"):
            import_model(model)


class TestDimensions:
    def test_a_symbolic_dimension_is_bound_by_name(self):
        module = import_model(mlp(), {"batch": 3})
        assert get_dims(module) == {"batch": 3}
        assert str(main(module).function_type.inputs.data[0]) == "tensor<3x1x28x28xf32>"
        assert str(main(module).function_type.outputs.data[0]) == "tensor<3x10xf32>"

    def test_an_open_dimension_is_refused_with_the_flag_that_binds_it(self):
        message = "the size of 'batch' (axis 0 of input 'image') is open; bind it with --dim batch=N"
        with pytest.raises(OnnxImportError, match=re.escape(message)):
            import_model(mlp())

    def test_a_dimension_without_a_name_is_bound_by_its_place(self):
        model = mlp()
        model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
        with pytest.raises(OnnxImportError, match=r"--dim image\.0=N"):
            import_model(model)
        assert str(main(import_model(model, {"image.0": 2})).function_type.inputs.data[0]) == "tensor<2x1x28x28xf32>"

    def test_a_dimension_that_the_model_does_not_have_is_refused(self):
        with pytest.raises(UsageError, match="no such dimension; it has batch"):
            import_model(mlp(), {"batch": 1, "bacth": 2})

    def test_the_inputs_given_bind_what_is_open_and_nothing_else(self):
        shapes = {"image": (3, 1, 28, 28), "another": (7,)}
        assert get_dims(import_model(mlp(), shapes=shapes)) == {"batch": 3}
        assert get_dims(import_model(mlp(), {"batch": 2}, shapes=shapes)) == {"batch": 2}

    def test_the_inputs_given_bind_a_dimension_without_a_name(self):
        model = mlp()
        model.graph.input[0].type.tensor_type.shape.dim[0].Clear()
        module = import_model(model, shapes={"image": (3, 1, 28, 28)})
        assert str(main(module).function_type.inputs.data[0]) == "tensor<3x1x28x28xf32>"


class TestLaws:
    """Inputs are drawn so that they are legal."""

    def laws(self, model):
        entries = arguments(import_model(model))
        return {
            entry["tst.name"].data: {key: plain(value) for key, value in entry["tst.law"].data.items()}
            for entry in entries
        }

    def test_indices_stay_below_their_tables_and_masks_are_ones(self):
        laws = self.laws(transformer_block(tokens=16, vocabulary=50))
        assert laws["ids"] == {"kind": "int", "low": 0, "high": 50}
        assert laws["positions"] == {"kind": "int", "low": 0, "high": 16}
        assert laws["mask"] == {"kind": "ones"}

    def test_indices_are_followed_through_what_moves_them(self):
        build = Builder()
        cast = build.node("Cast", "ids", to=TensorProto.INT64)
        flat = build.node("Reshape", cast, build.constant("flat", np.array([-1])))
        found = build.node("Gather", build.weight("table", 7, 4), flat)
        model = build.model({"ids": (TensorProto.INT32, [2, 3])}, {found: (TensorProto.FLOAT, [6, 4])})
        assert self.laws(model)["ids"] == {"kind": "int", "low": 0, "high": 7}

    def test_floats_are_normal(self):
        assert self.laws(cnn())["image"] == {"kind": "normal"}


class TestBadInput:
    """One clear message each."""

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(OnnxImportError, match=r"model '.*gone\.onnx' does not exist"):
            import_model(tmp_path / "gone.onnx")

    def test_a_folder(self, tmp_path):
        with pytest.raises(OnnxImportError, match="cannot be read: Is a directory"):
            import_model(tmp_path)

    @pytest.mark.parametrize("data", [b"", b"hello, I am no model", bytes(100), b"\x08\x09"])
    def test_what_is_no_model(self, tmp_path, data):
        (tmp_path / "m.onnx").write_bytes(data)
        with pytest.raises(OnnxImportError, match="is not an ONNX model"):
            import_model(tmp_path / "m.onnx")

    def test_a_truncated_file(self, tmp_path):
        data = cnn().SerializeToString()
        for length in (20, 1000, len(data) - 1):
            (tmp_path / "m.onnx").write_bytes(data[:length])
            with pytest.raises(OnnxImportError, match="is not an ONNX model, or is truncated"):
                import_model(tmp_path / "m.onnx")

    def test_unknown_operators_are_listed_at_once(self):
        model = graph_model([
            helper.make_node("Foo", ["x"], ["a"], name="f1"),
            helper.make_node("Foo", ["a"], ["b"], name="f2"),
            helper.make_node("Bar", ["b"], ["c"], name="b1", domain="acme"),
            helper.make_node("Gelu", ["c"], ["y"], name="g1"),
        ], domains=["acme"])  # fmt: skip
        with pytest.raises(OnnxImportError) as caught:
            import_model(model)
        message = str(caught.value)
        assert "3 operators of the model are unknown" in message
        assert "Foo (not in ai.onnx at opset 17): 2 nodes: 'f1', 'f2'" in message
        assert "Bar (domain 'acme' is not known here): 1 node: 'b1'" in message
        assert "Gelu (not in ai.onnx at opset 17): 1 node: 'g1'" in message

    def test_an_undefined_name(self):
        with pytest.raises(OnnxImportError, match=r"onnx 'y': \(Relu\) input 'nothing' is no graph input"):
            import_model(graph_model([helper.make_node("Relu", ["nothing"], ["y"])]))

    def test_a_cycle(self):
        model = graph_model([helper.make_node("Add", ["x", "y"], ["a"]), helper.make_node("Relu", ["a"], ["y"])])
        with pytest.raises(OnnxImportError, match="cycle through 2 nodes: 'a', 'y'"):
            import_model(model)

    def test_a_name_defined_twice(self):
        model = graph_model([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["y"])])
        with pytest.raises(OnnxImportError, match="output 'y' is defined a second time"):
            import_model(model)

    def test_an_output_that_nothing_computes(self):
        with pytest.raises(OnnxImportError, match="graph output 'y' is computed by no node"):
            import_model(graph_model([helper.make_node("Relu", ["x"], ["z"])]))

    def test_a_node_that_breaks_its_operators_signature(self):
        model = graph_model([helper.make_node("Relu", ["x", "x"], ["y"], name="r")])
        with pytest.raises(OnnxImportError, match=r"^onnx 'r' \(Relu, opset 17\): 2 inputs; expected 1 to 1$"):
            import_model(model)

    def test_a_name_that_is_no_text(self):
        data = graph_model([helper.make_node("Relu", ["x"], ["name"]), helper.make_node("Neg", ["name"], ["y"])])
        with pytest.raises(OnnxImportError, match="is no UTF-8 text"):
            import_model(data.SerializeToString().replace(b"name", b"\xffame"))

    def test_damaged_bytes_give_a_message_or_a_model(self):
        rng, models = np.random.default_rng(0), [SMALL[name]().SerializeToString() for name in ("cnn", "transformer")]
        messages = []
        for trial in range(200):
            damaged = bytearray(models[trial % 2])
            damaged[rng.integers(0, 3000)] = rng.integers(0, 256)
            try:
                verify_module(import_model(bytes(damaged)))
            except (OnnxImportError, UsageError) as error:
                messages.append(str(error))
        assert 20 < len(messages) < 200
        assert all(messages)

    def test_strings(self):
        text = helper.make_tensor("t", TensorProto.STRING, [1], [b"hello"])
        model = graph_model([helper.make_node("Relu", ["x"], ["y"])], stored=[text])
        with pytest.raises(OnnxImportError, match="'t' holds strings"):
            import_model(model)

    def test_an_input_that_is_no_tensor(self):
        model = graph_model([helper.make_node("Relu", ["x"], ["y"])])
        element = helper.make_tensor_type_proto(TensorProto.FLOAT, [2])
        model.graph.input.append(onnx.ValueInfoProto(name="s", type=helper.make_sequence_type_proto(element)))
        with pytest.raises(OnnxImportError, match=r"^input 's' is a sequence; a graph input must be a tensor"):
            import_model(model)
        model.graph.node.append(helper.make_node("SequenceLength", ["s"], ["n"], name="count"))
        with pytest.raises(
            OnnxImportError, match=r"^onnx 'count' \(SequenceLength, opset \d+\): input 's' is a sequence"
        ):
            import_model(model)


def test_the_source_and_its_digest_are_recorded(tmp_path):
    onnx.save(cnn(), tmp_path / "m.onnx")
    source = get_source(import_model(tmp_path / "m.onnx"))
    assert source is not None
    assert source.path == "m.onnx", "text does not tell where the model lay"
    assert source.sha256 == hashlib.sha256((tmp_path / "m.onnx").read_bytes()).hexdigest()


def test_bytes_and_protos_are_models_too():
    texts = {str(import_model(source)) for source in (cnn(), cnn().SerializeToString())}
    assert len(texts) == 1


def test_initializers_among_the_inputs_are_no_arguments():
    model = cnn()
    tensor = model.graph.initializer[0]
    model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    assert [entry["tst.name"] for entry in arguments(import_model(model))] == [StringAttr("image")]
    assert isinstance(arguments(import_model(model))[0]["tst.law"], DictionaryAttr)
