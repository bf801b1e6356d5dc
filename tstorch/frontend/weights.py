"""Where the weights' bytes are, by reference: what stands between `prim.weight` in the IR and a file on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from xdsl.dialects.builtin import TensorType

from tstorch.diagnostics import OnnxImportError
from tstorch.frontend.model_file import ModelFile, StoredTensor

Reference = tuple[str, str, str]
"""(file's base name, key, digest): what `prim.weight` says."""


class WeightStore:
    """The tensors of the models in use: `import_model` adds its own, files named in text are looked for in `search`."""

    def __init__(self, search: Sequence[str | Path] = ()):
        self._search = [Path(folder) for folder in search]
        self._files: dict[str, ModelFile] = {}

    def add(self, file: ModelFile, name: str | None = None) -> None:
        """Makes a model's tensors known under its base name, or under the one that it had when it was compiled."""
        self._files[name or file.name] = file

    def stored(self, file: str, key: str, digest: str) -> StoredTensor:
        """Where the bytes lie. Raises OnnxImportError for a missing file or key, or bytes that have changed."""
        model = self._open(file)
        if key not in model.tensors:
            raise OnnxImportError(
                f"'{model.path}' holds no tensor '{key}'; it is not the model that the text came from"
            )
        stored = model.stored(key)
        if stored.digest != digest:
            raise OnnxImportError(
                f"'{model.path}': tensor '{key}' has digest {stored.digest[:16]}..., the text says {digest[:16]}...; "
                "the model has changed since the text was printed: import it again"
            )
        return stored

    def array(self, file: str, key: str, digest: str, type: TensorType | None = None) -> np.ndarray:
        """The tensor's bytes as numbers of its own or another type, where possible a read-only view of the file."""
        self.stored(file, key, digest)
        return self._open(file).array(key, type)

    def sources(self, references: Iterable[Reference]) -> dict[str, dict[str, str | int]]:
        """What the runtime needs to read the bytes itself: digest -> path, offset, bytes."""
        places = (self.stored(*reference) for reference in references)
        return {at.digest: {"path": str(at.path), "offset": at.offset, "bytes": at.nbytes} for at in places}

    def _open(self, name: str) -> ModelFile:
        if name not in self._files:
            found = next((folder / name for folder in self._search if (folder / name).is_file()), None)
            if found is None:
                looked = ", ".join(f"'{folder}'" for folder in self._search) or "no folder"
                raise OnnxImportError(
                    f"the weights' file '{name}' was not found in {looked}; put the model beside the text"
                )
            self._files[name] = ModelFile(found)
        return self._files[name]
