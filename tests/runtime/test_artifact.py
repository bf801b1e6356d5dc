"""The artifact's file: deterministic, whole or absent, refused with one message when it is anything else."""

import dataclasses
import zipfile

import pytest

from tstorch.artifact.format import Artifact, ArtifactError


def test_round_trip_keeps_everything(add_builder, tmp_path):
    artifact = add_builder.artifact()
    artifact.write(tmp_path / "a.tsart")
    assert Artifact.read(tmp_path / "a.tsart") == artifact


def test_same_content_gives_same_bytes(add_builder, tmp_path):
    artifact = add_builder.artifact()
    shuffled = dataclasses.replace(artifact, program=dict(reversed(artifact.program.items())))
    artifact.write(tmp_path / "a.tsart")
    shuffled.write(tmp_path / "b.tsart")
    assert (tmp_path / "a.tsart").read_bytes() == (tmp_path / "b.tsart").read_bytes() == artifact.to_bytes()
    assert [entry.date_time for entry in zipfile.ZipFile(tmp_path / "a.tsart").infolist()] == [
        (1980, 1, 1, 0, 0, 0)
    ] * 8


def test_embedded_weights_are_found_in_the_file(add_builder, tmp_path):
    weights = {"d" * 64: b"four", "a" * 64: bytes(range(100))}
    path = tmp_path / "a.tsart"
    add_builder.artifact().write(path, weights)
    content = path.read_bytes()
    embedded = Artifact.read(path).embedded
    assert {k: content[v["offset"] : v["offset"] + v["bytes"]] for k, v in embedded.items()} == weights


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_truncated_file_is_one_clear_error(add_builder, tmp_path, keep):
    path = tmp_path / "a.tsart"
    content = add_builder.artifact().to_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(ArtifactError, match="not a whole artifact"):
        Artifact.read(path)


def test_flipped_byte_is_noticed(add_builder, tmp_path):
    path = tmp_path / "a.tsart"
    content = bytearray(add_builder.artifact().to_bytes())
    content[content.index(b"global_invocation_id")] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"add\.wgsl.*checksum"):
        Artifact.read(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere\.tsart' does not exist"):
        Artifact.read(tmp_path / "nowhere.tsart")


def test_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ArtifactError, match=r"it has no manifest.json"):
        Artifact.read(tmp_path / "a.zip")


def test_newer_major_is_refused_and_unknown_keys_are_not(add_builder, tmp_path):
    artifact = add_builder.artifact()
    artifact.manifest["a key of tomorrow"] = 1
    artifact.write(tmp_path / "a.tsart")
    Artifact.read(tmp_path / "a.tsart")
    with zipfile.ZipFile(tmp_path / "b.tsart", "w") as archive:
        archive.writestr("manifest.json", '{"schema": "tstorch-artifact/2"}')
        for table in ("program", "dispatches", "nodes", "memory", "remarks"):
            archive.writestr(f"{table}.json", "{}")
    with pytest.raises(ArtifactError, match=r"'tstorch-artifact/2', newer than 'tstorch-artifact/1'; update tstorch"):
        Artifact.read(tmp_path / "b.tsart")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (
            lambda p, c: c["bindings"][0].update(bytes=404),
            r"dispatch 0 spans bytes 0\.\.404 of buffer 0, which has 400",
        ),
        (lambda p, c: c["bindings"][0].update(buffer=9), "buffer 9, which does not exist"),
        (lambda p, c: c["bindings"][0].update(access="read_write"), "binds other accesses"),
        (lambda p, c: c.update(kernel="k9"), "kernel 'k9', which does not exist"),
        (lambda p, c: c.update(grid=[0, 1, 1]), "expected three positive sizes"),
        (lambda p, c: c.update(op="jump"), "command 'jump'"),
        (lambda p, c: c.update(id=7), "dispatch 7 is missing in dispatches.json"),
        (lambda p, c: p["buffers"][0].update(bytes=401), "expected a positive multiple of 4"),
        (lambda p, c: p["buffers"][0].update(category="heap"), "category 'heap'"),
        (lambda p, c: p["outputs"][0].update(offset=-4), r"outputs 'y' spans bytes -4"),
        (lambda p, c: p.pop("state"), "KeyError: 'state'"),
    ],
)
def test_broken_rules_are_named_and_nothing_is_written(add_builder, tmp_path, break_it, message):
    artifact = add_builder.artifact()
    command = next(command for command in artifact.program["entries"]["run"] if command["op"] == "dispatch")
    break_it(artifact.program, command)
    with pytest.raises(ArtifactError, match=message):
        artifact.write(tmp_path / "a.tsart")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("max_compute_workgroups_per_dimension", 1, "dispatch 0 launches 2 workgroups along x; the target allows 1"),
        ("max_storage_buffer_binding_size", 256, "dispatch 0 binds 400 bytes at once; the target allows 256"),
        ("max_storage_buffers_per_shader_stage", 2, "dispatch 0 binds 3 buffers; the target allows 2"),
        ("max_compute_workgroup_storage_size", 64, "kernel 'add' uses 65 bytes of workgroup memory"),
        ("max_compute_workgroup_size_x", 4, "kernel 'add' runs 64 invocations along x; the target allows 4"),
    ],
)
def test_what_exceeds_the_target_is_refused_by_the_nodes_name(add_builder, tmp_path, limit, value, message):
    add_builder.kernels["add"].map["workgroup_bytes"] = 65
    add_builder.artifact().write(tmp_path / "fits.tst")
    add_builder.limits[limit] = value
    with pytest.raises(ArtifactError, match=f"^onnx '/add/Add': {message}"):
        add_builder.artifact().write(tmp_path / "a.tst")
    assert not (tmp_path / "a.tst").exists()


def test_a_buffer_beyond_the_target_is_refused(add_builder, tmp_path):
    add_builder.limits["max_buffer_size"] = 396
    with pytest.raises(ArtifactError, match=r"buffer 'b0' \(input\) has 400 bytes; the target allows 396"):
        add_builder.artifact().write(tmp_path / "a.tst")


def test_unwritable_folder_is_one_message(add_builder, tmp_path):
    with pytest.raises(ArtifactError, match="cannot write"):
        add_builder.artifact().write(tmp_path / "missing" / "a.tsart")
