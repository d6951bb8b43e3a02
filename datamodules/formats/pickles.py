"""An unpickler that can build plain numpy arrays and nothing else."""

from __future__ import annotations

import io
import math
import pickle
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

_PLAIN = re.compile(r"[biufc]\d{1,2}|\?")
"""Types of numbers; structured types, strings and objects have no place in a data set."""


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _latin1(text: str, encoding: str) -> bytes:
    """The one use that numpy's pickles make of `_codecs.encode`."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


class _Dtype:
    """Stands for `numpy.dtype`, whose own `__setstate__` trusts what it is given and can crash."""

    def __init__(self, name: Any, align: Any = False, copy: Any = True) -> None:
        self.name = _text(name)
        if not _PLAIN.fullmatch(self.name):
            raise pickle.UnpicklingError(f"the type {self.name!r} is not one of plain numbers")
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, and what only structured types have)
        order = _text(state[1])
        if order not in ("<", ">", "=", "|") or any(part not in (None, b"", ()) for part in state[2:5]):
            raise pickle.UnpicklingError("the type has parts")
        self.order = "=" if order == "|" else order

    def dtype(self) -> np.dtype[Any]:
        """The real one."""
        return np.dtype(self.order + self.name)


class _Array:
    """Stands for `numpy.ndarray` until its content has been checked."""

    values: npt.NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array without plain numbers")
        if not all(isinstance(n, int) and n >= 0 for n in shape):
            raise pickle.UnpicklingError(f"an array of shape {shape!r}")
        kind = dtype.dtype()
        if math.prod(shape) * kind.itemsize != len(data):
            raise pickle.UnpicklingError(f"{len(data)} bytes for an array of shape {shape!r}")
        self.values = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C").copy()


def _reconstruct(subtype: Any, shape: Any, dtype: Any) -> _Array:
    """What numpy calls to begin an array; `subtype` is the type itself in every honest pickle."""
    if subtype is not _Array:
        raise pickle.UnpicklingError(f"{subtype!r} is not an array type")
    return _Array()


_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _latin1,
}


class _ArrayUnpickler(pickle.Unpickler):
    """Resolves the names in `_ALLOWED` only, so that loading can run no code of the file's choice."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed") from None

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("persistent references are not allowed")


def loads(data: bytes, where: str) -> Any:
    """Unpickle lists, dicts, strings, numbers and numpy arrays; byte strings of Python 2 stay bytes.

    Args:
        data: The pickle.
        where: What it was read from, for the error.

    Raises:
        DataError: The pickle names anything else, or is damaged.
    """
    try:
        return _plain(_ArrayUnpickler(io.BytesIO(data), encoding="bytes").load())
    except Exception as error:  # a hostile or damaged pickle can fail in any way
        raise DataError(
            f"{where} cannot be read as plain arrays: {error}",
            "it is damaged or not the published file: delete it and fetch it again",
        ) from error


def _plain(value: Any) -> Any:
    """The value with arrays in place of what stands for them."""
    if isinstance(value, _Array):
        if value.values is None:
            raise pickle.UnpicklingError("an array without content")
        return value.values
    if isinstance(value, _Dtype):
        raise pickle.UnpicklingError("a type in place of data")
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(part) for part in value)
    return value
