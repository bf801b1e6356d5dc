"""What a model is compiled for: limits, features and class of a device, read from TOML and carried in the IR."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FloatAttr, IntegerAttr, ModuleOp, StringAttr, i64
from xdsl.ir import Attribute

from tstorch.diagnostics import DiagnosticError

DeviceClass = Literal["cpu", "integrated", "discrete"]
_DEVICES = Path(__file__).resolve().parent / "devices"
# What a device file says beside what is compiled for; `tstorch-fit` reads it.
_BESIDE = {"about", "memory", "ceilings"}


@dataclass(frozen=True)
class Limits:
    """WebGPU's limits under wgpu's names; the defaults are WebGPU's own. Sizes are in bytes."""

    max_storage_buffer_binding_size: int = 134217728
    max_buffer_size: int = 268435456
    max_storage_buffers_per_shader_stage: int = 8
    min_storage_buffer_offset_alignment: int = 256
    max_compute_invocations_per_workgroup: int = 256
    max_compute_workgroup_size_x: int = 256
    max_compute_workgroup_size_y: int = 256
    max_compute_workgroup_size_z: int = 64
    max_compute_workgroup_storage_size: int = 16384
    max_compute_workgroups_per_dimension: int = 65535


@dataclass(frozen=True)
class Target:
    """A device to compile for. `units` is the number of its compute units (1 where unknown)."""

    id: str
    device_class: DeviceClass
    units: int = 1
    limits: Limits = field(default_factory=Limits)
    features: tuple[str, ...] = ()

    @classmethod
    def default(cls, device_class: DeviceClass = "cpu") -> Self:
        """WebGPU's default limits with the class given."""
        return cls.load(f"webgpu-default-{device_class}")

    @classmethod
    def load(cls, id_or_path: str) -> Self:
        """A target by id (a file in `tstorch/devices`) or by the path of a TOML file.

        Raises DiagnosticError naming the ids that exist, or what is wrong in the file.
        """
        path, data = read_device_file(id_or_path)
        try:
            return cls.of_device_file(data)
        except DiagnosticError as error:
            raise DiagnosticError(f"target file '{path}': {error}") from error

    @classmethod
    def of_device_file(cls, data: Mapping[str, Any]) -> Self:
        """The target in a device file, which says more than what is compiled for. Raises DiagnosticError."""
        return cls.from_json({key: value for key, value in data.items() if key not in _BESIDE})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The target that `to_json` (or a TOML file of the same keys) describes. Raises DiagnosticError."""
        unknown = set(data) - {"id", "class", "units", "limits", "features"}
        known_limits = {limit.name for limit in dataclasses.fields(Limits)}
        limits = data.get("limits", {})
        unknown |= {f"limits.{name}" for name in set(limits) - known_limits}
        if unknown:
            raise DiagnosticError(f"unknown key {', '.join(sorted(unknown))}; known limits: {', '.join(known_limits)}")
        if data.get("class") not in get_args(DeviceClass):
            raise DiagnosticError(f"class is {data.get('class')!r}; expected one of {', '.join(get_args(DeviceClass))}")
        if bad := {key: size for key, size in limits.items() if type(size) is not int or size <= 0}:
            raise DiagnosticError(f"limits {bad}: expected positive integers")
        if type(data.get("id")) is not str:
            raise DiagnosticError(f"id is {data.get('id')!r}; expected a name")
        return cls(
            data["id"], data["class"], int(data.get("units", 1)), Limits(**limits), tuple(data.get("features", ()))
        )

    def to_json(self) -> dict[str, Any]:
        """The form that the artifact's manifest holds."""
        return {
            "id": self.id,
            "class": self.device_class,
            "units": self.units,
            "limits": dataclasses.asdict(self.limits),
            "features": list(self.features),
        }

    def to_attribute(self) -> DictionaryAttr:
        """The form that the IR holds (module attribute `tst.target`)."""
        limits = {name: IntegerAttr(size, i64) for name, size in dataclasses.asdict(self.limits).items()}
        return DictionaryAttr(
            {
                "id": StringAttr(self.id),
                "class": StringAttr(self.device_class),
                "units": IntegerAttr(self.units, i64),
                "limits": DictionaryAttr(limits),
                "features": ArrayAttr([StringAttr(name) for name in self.features]),
            }
        )

    @classmethod
    def from_attribute(cls, attribute: Attribute) -> Self:
        """The target that `to_attribute` describes. Raises DiagnosticError."""
        data = plain(attribute)
        if not isinstance(data, dict):
            raise DiagnosticError(f"tst.target is {attribute}; expected a dictionary with id, class and limits")
        return cls.from_json(data)


def known_devices() -> dict[str, Path]:
    """The files of the devices that come with TSTorch, by id, in order."""
    return {path.stem: path for path in sorted(_DEVICES.glob("*.toml"))}


def read_device_file(id_or_path: str) -> tuple[Path, dict[str, Any]]:
    """A device file's path and what it holds, by id or by path. Raises DiagnosticError."""
    known = known_devices()
    path = known.get(id_or_path, Path(id_or_path))
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DiagnosticError(
            f"target '{id_or_path}' is neither a known id nor a file; known ids: {', '.join(known)}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DiagnosticError(f"target file '{path}': {error}") from error


def plain(attribute: Attribute) -> Any:
    """Strings, integers, floats, arrays and dictionaries as Python's own. Raises DiagnosticError for anything else."""
    match attribute:
        case DictionaryAttr(data=entries):
            return {key: plain(entry) for key, entry in entries.items()}
        case ArrayAttr(data=items):
            return [plain(item) for item in items]
        case IntegerAttr() | FloatAttr():
            return attribute.value.data
        case StringAttr(data=text):
            return text
    raise DiagnosticError(f"{attribute} has no plain form; expected strings, numbers, arrays and dictionaries")


def get_target(module: ModuleOp) -> Target:
    """The target that the module is compiled for: WebGPU's defaults with class cpu where it names none."""
    attribute = module.attributes.get("tst.target")
    return Target.default() if attribute is None else Target.from_attribute(attribute)


def set_target(module: ModuleOp, target: Target) -> None:
    """Records the target that the module is compiled for."""
    module.attributes["tst.target"] = target.to_attribute()
