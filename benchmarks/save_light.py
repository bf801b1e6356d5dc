"""Writes the nine networks inside the onnx package, with seeded weights, and the tests' transformer block to a folder.

    python benchmarks/save_light.py FOLDER

The package's own weights are constants of one value. benchmarks/networks.py then measures the folder.
"""

import argparse
import sys
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from models import LIGHT, light_network, transformer_block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in LIGHT:
        onnx.save(light_network(name), folder / f"{name}.onnx")
    onnx.save(transformer_block(), folder / "transformer_block.onnx")


if __name__ == "__main__":
    main()
