"""Gives a stripped example its weights back: python restore.py STRIPPED.onnx OUT.onnx

The networks kept in this repository have trained shapes but drawn weights. A large initializer is stored as a recipe
in the file's metadata, {k, seed, m, s, lo, hi}: the law k (n for normal, u for uniform), the mean m and standard
deviation s of the trained tensor, and its range. The numbers are built from the raw stream of PCG64, which NumPy
promises never to change, by additions and multiplications only: the same bytes on every machine. A digest of them
stands in the file too, and a result that differs from it is refused.
"""

import argparse
import hashlib
import json
import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

RECIPES, DIGEST = "tst.recipes", "tst.sha256"
CHUNK = 1 << 20
Recipe = Mapping[str, float]


def standard_uniform(raw: np.ndarray) -> np.ndarray:
    """Maps 64 random bits each to a uniform number of mean 0 and variance 1 (the upper 53 bits, a double's own)."""
    return ((raw >> np.uint64(11)) * 2.0**-53 - 0.5) * math.sqrt(12)


def standard_normal(raw: np.ndarray) -> np.ndarray:
    """Maps 64 random bits each to a nearly normal number of mean 0 and variance 1: the sum of four 16-bit words."""
    words = raw.astype("<u8").view("<u2").reshape(-1, 4).astype(np.int64)
    mean, variance = 2 * 65535, (65536.0**2 - 1) / 3
    return (words.sum(axis=1) - mean) * (1.0 / math.sqrt(variance))


LAWS = {"u": standard_uniform, "n": standard_normal}


def draw(recipe: Recipe, count: int, dtype: np.dtype) -> np.ndarray:
    """Draws `count` numbers by a recipe, as a flat array of `dtype`."""
    stream = np.random.PCG64(recipe["seed"])
    law = LAWS[recipe["k"]]
    values = np.empty(count, dtype)
    for start in range(0, count, CHUNK):
        part = values[start : start + CHUNK]
        numbers = law(stream.random_raw(len(part)))
        part[:] = np.clip(numbers * recipe["s"] + recipe["m"], recipe["lo"], recipe["hi"])
    return values


def restored(path: str | os.PathLike) -> onnx.ModelProto:
    """Reads a stripped model and draws its weights.

    Raises ValueError where the file is no ONNX model, carries no recipes or one of a law that this code does not
    know, or where the drawn bytes do not have the recorded digest.
    """
    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise ValueError(f"{path}: not an ONNX file ({error})") from error
    notes = {entry.key: entry.value for entry in model.metadata_props}
    if RECIPES not in notes or DIGEST not in notes:
        raise ValueError(f"{path}: no recipes in the metadata: is this a stripped example?")
    recipes = json.loads(notes[RECIPES])
    if unknown := sorted({recipe["k"] for recipe in recipes.values()} - LAWS.keys()):
        raise ValueError(f"{path}: recipes of unknown law {', '.join(unknown)}; expected one of {', '.join(LAWS)}")
    digest = hashlib.sha256()
    for tensor in model.graph.initializer:
        if tensor.name in recipes:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).newbyteorder("<")
            tensor.raw_data = draw(recipes.pop(tensor.name), math.prod(tensor.dims), dtype).tobytes()
            digest.update(tensor.name.encode() + tensor.raw_data)
    if recipes or digest.hexdigest() != notes[DIGEST]:
        raise ValueError(f"{path}: the weights drawn are not those of the recipes; is the file complete?")
    kept = [entry for entry in model.metadata_props if entry.key != RECIPES]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return model


def restore(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Writes the restored model to `target`, whole or not at all."""
    content = restored(source).SerializeToString(deterministic=True)
    unfinished = Path(f"{target}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def main() -> int:
    """Restores one file from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Draws the weights of a stripped example.")
    parser.add_argument("source", help="a stripped .onnx file, such as resnet18_bn.onnx")
    parser.add_argument("target", help="where the restored model goes")
    arguments = parser.parse_args()
    try:
        restore(arguments.source, arguments.target)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
