"""All shaders of an artifact to pipelines: in threads, the longest text first."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tstorch.artifact.format import Artifact, Kernel
from tstorch.diagnostics import RunError
from tstorch.runtime.device import Device, Handle, ShaderError


class PipelineMaker:
    """Compiles in the background from when it is made until it is left; `pipelines` waits for all."""

    def __init__(self, device: Device, artifact: Artifact) -> None:
        self._artifact = artifact
        for kernel in artifact.kernels.values():
            device.prepare_layout(kernel.map["bindings"])
        self._pool = ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1), thread_name_prefix="pipelines")
        longest_first = sorted(artifact.kernels.items(), key=lambda item: -len(item[1].wgsl))
        self._futures = {
            name: self._pool.submit(device.pipeline, name, kernel.wgsl, kernel.map["entry"], kernel.map["bindings"])
            for name, kernel in longest_first
        }

    def __enter__(self) -> "PipelineMaker":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def pipelines(self) -> Mapping[str, Handle]:
        """The pipeline of each kernel. Raises RunError that leads from the refused line to the ONNX nodes."""
        return {name: self._finished(name) for name in sorted(self._futures)}

    def _finished(self, name: str) -> Handle:
        try:
            return self._futures[name].result()
        except ShaderError as error:
            raise RunError(explain_shader_error(self._artifact, name, error)) from error


def explain_shader_error(artifact: Artifact, name: str, error: ShaderError) -> str:
    """One message: the nodes whose kernel was refused, the ops on the line, the line itself, and the driver's words."""
    kernel = artifact.kernels[name]
    local = kernel.map["lines"].get(str(error.line), []) if error.line else []
    ops = ", ".join(kernel.map["ops"][i] for i in local) or kernel.map.get("kind", "kernel")
    where = f"kernel '{name}'" + (f" line {error.line} ({_line(kernel, error.line)})" if error.line else "")
    nodes = ", ".join(f"'{node}'" for node in _nodes(artifact, name, local)) or "no node"
    return (
        f"onnx {nodes}: the driver refused the shader made for {ops}, {where}: {_reason(str(error))}; "
        "this is a bug of tstorch or of the driver: please report the artifact"
    )


def _nodes(artifact: Artifact, name: str, local: list[int]) -> list[str]:
    """The nodes that those local ops serve (all of the kernel's where none of them is known), in order."""
    tables = [dispatch["nodes"] for dispatch in artifact.dispatches if dispatch["kernel"] == name]
    some = [node["id"] for table in tables for i, nodes in enumerate(table) if i in local for node in nodes]
    every = [node["id"] for table in tables for nodes in table for node in nodes]
    return list(dict.fromkeys(some or every))


def _line(kernel: Kernel, line: int) -> str:
    lines = kernel.wgsl.splitlines()
    return f"`{lines[line - 1].strip()}`" if line <= len(lines) else "beyond its end"


def _reason(message: str) -> str:
    """What naga or the driver says, without the frame around it: the first sentence after the chain of causes."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    wanted = [
        line for line in lines if line not in ("Validation Error", "Caused by:") and not line.startswith("In wgpu")
    ]
    reason = wanted[0] if wanted else message.strip()
    details = [line.removeprefix("=").strip() for line in lines if line.startswith("=")]
    return ". ".join([reason, *details])
