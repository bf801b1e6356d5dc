"""How shader modules are spelled: what is inlined, in which parentheses, and what static loops become."""

import numpy as np
import pytest
from loop_kernels import Gpu, compile_kernel, parse
from xdsl.dialects.builtin import f32, i32

from tstorch.artifact.wgsl_text import kernel_text
from tstorch.dialects import wgsl
from tstorch.dialects.loop import ui32
from tstorch.dialects.wgsl.spelling import literal

HEAD = """
wgsl.module @k grid [1, 1, 1] {
  %x = wgsl.binding @b0 at 0 read : memref<64xf32>
  %out = wgsl.binding @b1 at 1 read_write : memref<64xf32>
  wgsl.function @main workgroup [1, 1, 1] (%wg, %lid) {
    %t = wgsl.component %lid at 0 : vector<3xui32> -> ui32
"""


def body(ops: str) -> list[str]:
    """The lines that a function's ops become, without the frame."""
    [module] = parse(HEAD + ops + "}}").ops
    assert isinstance(module, wgsl.ModuleOp)
    return [line.strip() for line in kernel_text(module).text.splitlines()[4:-1]]


@pytest.mark.parametrize(
    ("ops", "expression"),
    [
        ("%c = wgsl.binary add %a, %b : f32, f32 -> f32\n%e = wgsl.binary mul %c, %a : f32, f32 -> f32", "(A + B) * A"),
        ("%c = wgsl.binary mul %a, %b : f32, f32 -> f32\n%e = wgsl.binary add %c, %a : f32, f32 -> f32", "A * B + A"),
        ("%c = wgsl.binary sub %a, %b : f32, f32 -> f32\n%e = wgsl.binary sub %a, %c : f32, f32 -> f32", "A - (A - B)"),
        ("%c = wgsl.binary div %a, %b : f32, f32 -> f32\n%e = wgsl.binary div %a, %c : f32, f32 -> f32", "A / (A / B)"),
        ("%c = wgsl.unary negate %a : f32\n%e = wgsl.unary negate %c : f32", "-(-A)"),
        ("%c = wgsl.unary negate %a : f32\n%e = wgsl.binary sub %b, %c : f32, f32 -> f32", "B - -A"),
        (
            "%c = wgsl.binary lt %a, %b : f32, f32 -> i1\n%e = wgsl.call select(%a, %b, %c) : (f32, f32, i1) -> f32",
            "select(A, B, (A < B))",
        ),
    ],
)
def test_parentheses_stand_where_needed(ops: str, expression: str) -> None:
    loads = "%a = wgsl.load %x[%t] : memref<64xf32>\n%b = wgsl.load %out[%t] : memref<64xf32>\n"
    [line] = body(f"{loads}{ops}\nwgsl.store %e, %out[%t] : f32, memref<64xf32>\n")
    assert line == f"b1[lid.x] = {expression};".replace("A", "b0[lid.x]").replace("B", "b1[lid.x]")


@pytest.mark.parametrize(
    ("value", "type", "text"),
    [
        (1.0, f32, "1.0f"),
        (0.1, f32, "0.1f"),
        (1e-5, f32, "1e-05f"),
        (-2.5, f32, "-2.5f"),
        (3.4028234663852886e38, f32, "3.4028234663852886e+38f"),
        (-1, i32, "-1i"),
        (-(2**31), i32, "i32(-2147483648)"),
        (-1, ui32, "4294967295u"),
    ],
)
def test_literals_are_exact_and_in_range(value: float, type, text: str) -> None:
    assert "".join(str(part) for part in literal(value, type).parts) == text


def test_static_loops_are_expanded_into_named_registers() -> None:
    lines = body("""
        %r = wgsl.registers : memref<2xvector<4xf32>>
        wgsl.static_for %i < 8 step 3 {
          %p = wgsl.index [%t * 16 - 3 + %i * 2]
          %v = wgsl.load %x[%p] : memref<64xf32>
          wgsl.write %v, %r[%i] : f32, memref<2xvector<4xf32>>
        }
    """)
    assert lines == [
        "var r0_0: vec4<f32>; var r0_1: vec4<f32>;",
        "r0_0.x = b0[lid.x * 16u - 3u];",
        "r0_0.w = b0[lid.x * 16u + 3u];",
        "r0_1.z = b0[lid.x * 16u + 9u];",
    ]


def test_names_inside_static_loops_are_fresh() -> None:
    lines = body("""
        wgsl.static_for %i < 2 {
          %v = wgsl.load %x[%t] : memref<64xf32>
          %n = wgsl.let %v : f32
          wgsl.store %n, %out[%t] : f32, memref<64xf32>
        }
    """)
    assert [line for line in lines if line.startswith("let")] == ["let v0 = b0[lid.x];", "let v1 = b0[lid.x];"]


@pytest.mark.gpu
def test_a_value_read_before_a_write_keeps_its_value() -> None:
    """Both elements are read before either is written, although each is used only once."""
    shader = compile_kernel(
        parse("""
        loop.kernel @swap(%x: memref<2xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {
          loop.parallel {
            %a = loop.load %x[0] : memref<2xf32> -> f32
            %b = loop.load %x[1] : memref<2xf32> -> f32
            loop.store %b, %x[0] : f32, memref<2xf32>
            loop.store %a, %x[1] : f32, memref<2xf32>
          }
        }
    """)
    )
    [found] = Gpu().run(shader, [np.array([1, 2], np.float32)])
    assert found.tolist() == [2, 1]


def test_long_expressions_are_cut() -> None:
    steps = "\n".join(f"%a{n + 1} = arith.addf %a{n}, %a0 : f32" for n in range(60))
    shader = compile_kernel(
        parse(f"""
        loop.kernel @long(%x: memref<2xf32>) grid [1, 1, 1] workgroup [1, 1, 1] {{
          loop.parallel {{
            %a0 = loop.load %x[0] : memref<2xf32> -> f32
            {steps}
            loop.store %a60, %x[1] : f32, memref<2xf32>
          }}
        }}
    """)
    )
    assert max(map(len, kernel_text(shader).text.splitlines()[3:])) < 120
