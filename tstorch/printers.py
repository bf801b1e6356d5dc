"""Forms of a module other than IR text."""

from xdsl.dialects.builtin import ModuleOp

from tstorch.artifact.wgsl_text import kernel_text
from tstorch.diagnostics import LevelError
from tstorch.dialects import wgsl


def wgsl_text(module: ModuleOp) -> str:
    """The shader of every kernel, each under a line with its name. Raises LevelError where there is none."""
    texts = [kernel_text(op) for op in module.body.block.ops if isinstance(op, wgsl.ModuleOp)]
    if not texts:
        raise LevelError("the module holds no wgsl.module to print; compile it to wgsl first: --compile-to=wgsl")
    return "\n".join(f"// kernel {text.name}\n{text.text}" for text in texts)
