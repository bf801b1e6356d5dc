"""Real lit on the files that pytest runs in-process: `lit tests/lit`."""
# ruff: noqa: F821 (lit hands `config` in)

import os
import sys

import lit.formats

config.name = "tstorch"
config.suffixes = [".mlir"]
config.test_format = lit.formats.ShTest(execute_external=False)
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(os.path.dirname(__file__), "Output")
config.environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
# lit gives its tests an almost empty environment.
for _name in ("PYTHONPATH", "VK_ICD_FILENAMES", "VK_DRIVER_FILES", "XDG_RUNTIME_DIR", "LD_LIBRARY_PATH"):
    if _name in os.environ:
        config.environment[_name] = os.environ[_name]
