"""Which adapter is used, and what is asked of it."""

import pytest

from tstorch.diagnostics import RunError
from tstorch.runtime.adapters import AdapterInfo, choose, describe
from tstorch.runtime.limits import features_to_request, limits_to_request


def adapter(name: str, device_class: str, backend: str = "Vulkan", driver: str = "1.0") -> AdapterInfo:
    return AdapterInfo(name, backend, driver, device_class, (), {})


MACHINE = [
    adapter("llvmpipe", "cpu", "OpenGL"),
    adapter("llvmpipe", "cpu", driver="Mesa 22"),
    adapter("Iris", "integrated"),
    adapter("H200", "discrete", "OpenGL"),
    adapter("H200", "discrete"),
]


@pytest.mark.parametrize(
    ("wanted", "index"), [(None, 4), ("iris", 2), ("LLVMPIPE", 1), ("opengl", 3), ("mesa", 1), ("h200", 4)]
)
def test_discrete_before_integrated_before_cpu_and_native_before_opengl(wanted, index):
    assert choose(MACHINE, wanted) == index


def test_an_adapter_that_does_not_exist_lists_those_that_do():
    with pytest.raises(
        RunError, match=r"no adapter matches 'radeon'; expected part of one of: .*Iris \(Vulkan, 1\.0\)"
    ):
        choose(MACHINE, "radeon")


def test_a_machine_without_adapters_is_told_what_to_install():
    with pytest.raises(RunError, match="mesa-vulkan-drivers"):
        choose([], None)


def test_an_adapter_of_unknown_type_counts_as_integrated():
    info = {"device": "", "vendor": "acme", "backend_type": "OpenGL", "description": "", "adapter_type": "Unknown"}
    found = describe(info, ["b", "a"], {"max-buffer-size": 5})
    assert (found.name, found.device_class, found.features) == ("acme", "integrated", ("a", "b"))
    assert found.limits == {"max_buffer_size": 5}


def test_limits_are_the_targets_and_webgpus_defaults_for_the_rest():
    granted = {"max_buffer_size": 2**31, "max_bind_groups": 8, "min_uniform_buffer_offset_alignment": 32}
    assert limits_to_request({"max_buffer_size": 2**28}, granted) == {
        "max_buffer_size": 2**28,
        "max_bind_groups": 4,
        "min_uniform_buffer_offset_alignment": 256,
    }


def test_a_limit_below_webgpus_default_is_taken_as_it_is():
    assert limits_to_request({}, {"max_texture_dimension_1d": 2048}) == {"max_texture_dimension_1d": 2048}


def test_a_target_larger_than_the_adapter_is_refused_limit_by_limit():
    granted = {"max_buffer_size": 100, "min_storage_buffer_offset_alignment": 256, "max_bind_groups": 4}
    target = {"max_buffer_size": 200, "min_storage_buffer_offset_alignment": 32}
    with pytest.raises(RunError, match="max_buffer_size 200, the adapter grants 100; min_storage_buffer_offset_ali"):
        limits_to_request(target, granted)


def test_a_limit_that_wgpu_does_not_know_is_refused():
    with pytest.raises(RunError, match="does not know: max_wishes"):
        limits_to_request({"max_wishes": 3}, {})


def test_features_are_translated_and_missing_ones_named():
    assert features_to_request(("f16",), ("shader-f16", "timestamp-query")) == ["shader-f16"]
    with pytest.raises(RunError, match="lacks f16, which the target requires"):
        features_to_request(("f16",), ())
