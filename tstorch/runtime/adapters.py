"""Which GPU of this machine to use: discrete, then integrated, then CPU, unless the user names one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tstorch.diagnostics import RunError

_CLASSES = {"DiscreteGPU": "discrete", "IntegratedGPU": "integrated", "CPU": "cpu"}
_CLASS_ORDER = ("discrete", "integrated", "cpu")
_BACKEND_ORDER = ("Metal", "Vulkan", "D3D12", "OpenGL", "OpenGLES")


@dataclass(frozen=True)
class AdapterInfo:
    """One adapter as its driver describes it. `limits` carry wgpu's names with underscores, sizes in bytes."""

    name: str
    backend: str
    driver: str
    device_class: str
    features: tuple[str, ...]
    limits: Mapping[str, int]

    @property
    def label(self) -> str:
        """What is printed: name, backend, driver."""
        return f"{self.name} ({self.backend}, {self.driver or 'driver not named'})"

    def to_json(self) -> dict[str, Any]:
        """The form that crosses to the session."""
        return {
            "name": self.name,
            "backend": self.backend,
            "driver": self.driver,
            "class": self.device_class,
            "features": list(self.features),
            "limits": dict(self.limits),
        }


def describe(info: Mapping[str, Any], features: Sequence[str], limits: Mapping[str, int]) -> AdapterInfo:
    """The adapter that wgpu's `info`, `features` and `limits` describe.

    A type that the driver does not tell (OpenGL on a real GPU) counts as integrated: the modest assumption.
    """
    return AdapterInfo(
        name=info["device"] or info["vendor"] or "unnamed adapter",
        backend=info["backend_type"],
        driver=info["description"],
        device_class=_CLASSES.get(info["adapter_type"], "integrated"),
        features=tuple(sorted(features)),
        limits={name.replace("-", "_"): size for name, size in limits.items()},
    )


def choose(adapters: Sequence[AdapterInfo], wanted: str | None) -> int:
    """The index of the adapter to use; `wanted` is part of a name, driver or backend, in any case.

    Raises RunError listing what there is.
    """
    if not adapters:
        raise RunError(
            "no GPU adapter was found, not even a software one; install a Vulkan driver "
            "(on Debian and Ubuntu: apt install mesa-vulkan-drivers libvulkan1)"
        )
    matching = [i for i, adapter in enumerate(adapters) if (wanted or "").lower() in _searchable(adapter)]
    if not matching:
        there = "; ".join(adapter.label for adapter in adapters)
        raise RunError(f"no adapter matches '{wanted}'; expected part of one of: {there}")
    return min(matching, key=lambda i: (_rank(_CLASS_ORDER, adapters[i].device_class), _backend_rank(adapters[i]), i))


def _searchable(adapter: AdapterInfo) -> str:
    return f"{adapter.name}\n{adapter.driver}\n{adapter.backend}".lower()


def _backend_rank(adapter: AdapterInfo) -> int:
    return _rank(_BACKEND_ORDER, adapter.backend)


def _rank(order: Sequence[str], item: str) -> int:
    return order.index(item) if item in order else len(order)
