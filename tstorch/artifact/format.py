"""The artifact as a file: one zip, byte for byte the same from the same content (docs/artifact.md)."""

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tstorch.artifact.check import check_artifact, check_schema
from tstorch.artifact.errors import ArtifactError
from tstorch.artifact.safetensors import read_header, write_tensors

__all__ = ["Artifact", "ArtifactError", "Kernel", "json_bytes"]

_WEIGHTS = "weights.safetensors"
_TABLES = ("manifest", "program", "dispatches", "nodes", "memory", "remarks")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Kernel:
    """One shader: its WGSL text, and the map of its lines to ops (`kernels/NAME.map.json`)."""

    wgsl: str
    map: dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """What the compiler made of one model. Every field is plain JSON data but `kernels`.

    `embedded` says where in the file weights lie that were saved with it: digest to {path, offset, bytes}.
    """

    manifest: dict[str, Any]
    program: dict[str, Any]
    kernels: Mapping[str, Kernel]
    dispatches: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    memory: dict[str, Any]
    remarks: list[Any]
    embedded: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> Self:
        """The artifact of nothing, before it is made."""
        return cls({}, {}, {}, [], [], {}, [])

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The artifact in the file at `path`. Raises ArtifactError when it is missing, damaged or of a newer schema."""
        path = Path(path)
        try:
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ArtifactError(f"artifact '{path}' is damaged: entry '{damaged}' fails its checksum")
                return cls._from_archive(path, archive)
        except FileNotFoundError as error:
            raise ArtifactError(f"artifact '{path}' does not exist") from error
        except ArtifactError:
            raise
        except (zipfile.BadZipFile, OSError, EOFError, KeyError, ValueError, TypeError) as error:
            raise ArtifactError(
                f"'{path}' is not a whole artifact ({error}); expected the zip that tstorch writes; compile it again"
            ) from error

    @classmethod
    def _from_archive(cls, path: Path, archive: zipfile.ZipFile) -> Self:
        names = set(archive.namelist())
        if missing := [f"{table}.json" for table in _TABLES if f"{table}.json" not in names]:
            raise ArtifactError(f"'{path}' is not an artifact: it has no {', '.join(missing)}")
        manifest = json.loads(archive.read("manifest.json"))
        check_schema(path, manifest, "tstorch-artifact/1")  # before anything that a newer version may have changed
        tables = {table: json.loads(archive.read(f"{table}.json")) for table in _TABLES}
        kernels = {
            name.removeprefix("kernels/").removesuffix(".wgsl"): Kernel(
                archive.read(name).decode("utf-8"), json.loads(archive.read(name.removesuffix(".wgsl") + ".map.json"))
            )
            for name in sorted(names)
            if name.startswith("kernels/") and name.endswith(".wgsl")
        }
        embedded = _embedded_weights(path, archive) if _WEIGHTS in names else {}
        artifact = cls(**tables, kernels=kernels, embedded=embedded)
        check_artifact(path, artifact)
        return artifact

    @property
    def interface(self) -> Mapping[str, Any]:
        """What the caller gives and gets: `inputs` and `outputs`, of the program where it has control."""
        return self.program.get("control", self.program)

    def write(self, path: str | Path, weights: Mapping[str, Any] | None = None) -> None:
        """Writes the file at `path`, whole or not at all; `weights` (digest to raw bytes) are embedded.

        Raises ArtifactError when the artifact breaks a rule of its format or the file cannot be written.
        """
        path = Path(path)
        check_artifact(path, self)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with open(partial, "wb") as file:
                self._write_archive(file, weights)
            os.replace(partial, path)
        except OSError as error:
            raise ArtifactError(f"cannot write '{path}': {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)

    def to_bytes(self, weights: Mapping[str, Any] | None = None) -> bytes:
        """The file's content, as `write` would write it."""
        buffer = io.BytesIO()
        self._write_archive(buffer, weights)
        return buffer.getvalue()

    def _write_archive(self, file: Any, weights: Mapping[str, Any] | None) -> None:
        entries = {f"{table}.json": json_bytes(getattr(self, table)) for table in _TABLES}
        for name, kernel in self.kernels.items():
            entries[f"kernels/{name}.wgsl"] = kernel.wgsl.encode("utf-8")
            entries[f"kernels/{name}.map.json"] = json_bytes(kernel.map)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            names: list[str] = [*entries, *([_WEIGHTS] if weights else [])]
            for name in sorted(names):
                info = zipfile.ZipInfo(name, _EPOCH)
                info.create_system, info.external_attr = 3, 0o644 << 16  # the same bytes on every system
                with archive.open(info, "w", force_zip64=name == _WEIGHTS) as entry:
                    if name == _WEIGHTS:
                        write_tensors(entry, weights or {})
                    else:
                        entry.write(entries[name])


def json_bytes(data: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """The one JSON spelling of `data`: sorted keys, no spaces, a final newline."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def _embedded_weights(path: Path, archive: zipfile.ZipFile) -> dict[str, dict[str, Any]]:
    """Where each embedded weight lies in the file itself, so that it can be memory-mapped."""
    info = archive.getinfo(_WEIGHTS)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ArtifactError(f"'{path}': {_WEIGHTS} is compressed; expected entries stored as they are")
    with archive.open(info) as entry:
        spans, data_offset = read_header(entry)
    if any(data_offset + end > info.file_size for _, end in spans.values()):
        raise ArtifactError(f"'{path}': {_WEIGHTS} ends before its last tensor does")
    with open(path, "rb") as file:  # the local header's own name and extra field come before the data
        file.seek(info.header_offset + 26)
        lengths = file.read(4)
    start = info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    return {
        digest: {"path": str(path), "offset": start + data_offset + begin, "bytes": end - begin}
        for digest, (begin, end) in spans.items()
    }
