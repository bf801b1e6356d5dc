"""Names of element types between processes: NumPy's own, and those that only packages beside it know."""

import numpy as np


def named_dtype(name: str, size: int) -> np.dtype:
    """The dtype of a name, whose elements take `size` bytes.

    Where nobody has registered the name with NumPy (ml_dtypes does so for float8 and the like), elements are the bare
    codes, under that name.
    """
    try:
        return np.dtype(name)
    except TypeError:
        return np.dtype([(name, f"<u{size}")])


def is_foreign(dtype: np.dtype) -> bool:
    """Whether NumPy itself lacks the type: it is another package's, or bare codes, under a name or without one."""
    return dtype.isbuiltin == 2 or dtype.kind == "V"


def dtype_name(dtype: np.dtype) -> str:
    """The name under which `named_dtype` finds the dtype again."""
    return dtype.names[0] if dtype.names else str(dtype)


def holds(dtype: np.dtype, name: str, size: int) -> bool:
    """Whether an array of a dtype is one of the type called `name`, whose elements take `size` bytes.

    numpy.savez forgets the names of types that NumPy lacks: raw elements of that size are taken for them.
    """
    raw = dtype.kind == "V" and not dtype.names and dtype.itemsize == size
    return dtype_name(dtype) == name or (raw and is_foreign(named_dtype(name, size)))


def bits_of(array: np.ndarray) -> np.ndarray:
    """What an array holds as NumPy's own numbers: the codes, where they are of a type that NumPy lacks."""
    if not is_foreign(array.dtype):
        return array
    return np.ascontiguousarray(array).view(f"<u{array.dtype.itemsize}").reshape(array.shape)
