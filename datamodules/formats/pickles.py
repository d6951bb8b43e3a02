"""An unpickler that can build plain numpy arrays and nothing else."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

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


class PlainDtype:
    """Stands for `numpy.dtype`, whose own `__setstate__` trusts what it is given and can crash."""

    allowed: ClassVar[re.Pattern[str]] = _PLAIN

    def __init__(self, name: Any, align: Any = False, copy: Any = True) -> None:
        self.name = _text(name)
        if not self.allowed.fullmatch(self.name):
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


class PlainArray:
    """Stands for `numpy.ndarray` until its content has been checked."""

    values: npt.NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.values = array_of(data, dtype, shape, "F" if fortran else "C")


def array_of(data: Any, dtype: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    """The array in some bytes, once all parts are known to be what they should be.

    Raises:
        UnpicklingError: They are not.
    """
    if not isinstance(dtype, PlainDtype) or not isinstance(data, bytes | bytearray):
        raise pickle.UnpicklingError("an array without plain numbers")
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise pickle.UnpicklingError(f"an array of shape {shape!r}")
    kind = dtype.dtype()
    if math.prod(shape) * kind.itemsize != len(data):
        raise pickle.UnpicklingError(f"{len(data)} bytes for an array of shape {shape!r}")
    return np.frombuffer(data, kind).reshape(shape, order="F" if order == "F" else "C")


def _reconstruct(subtype: Any, shape: Any, dtype: Any) -> PlainArray:
    """What numpy calls to begin an array; `subtype` is the type itself in every honest pickle."""
    if not (isinstance(subtype, type) and issubclass(subtype, PlainArray)):
        raise pickle.UnpicklingError(f"{subtype!r} is not an array type")
    return subtype()


_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "dtype"): PlainDtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("_codecs", "encode"): _latin1,
}


class ArrayUnpickler(pickle.Unpickler):
    """Resolves a few names only, so that loading can run no code of the file's choice."""

    allowed: ClassVar[Mapping[tuple[str, str], Any]] = _ALLOWED

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name, if it is allowed."""
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the name {module}.{name} is not allowed") from None

    def persistent_load(self, pid: Any) -> Any:
        """Nothing: no file of data needs it."""
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
        with warnings.catch_warnings():
            # of escapes in strings: what is odd in a file is no fault of the program that reads it
            warnings.simplefilter("ignore", DeprecationWarning)
            check_memo(data)
            return _Plain(len(data)).of(ArrayUnpickler(io.BytesIO(data), encoding="bytes").load())
    except Exception as error:  # a hostile or damaged pickle can fail in any way
        raise DataError(
            f"{where} cannot be read as plain arrays: {error}",
            "it is damaged or not the published file: delete it and fetch it again",
        ) from error


def check_memo(data: bytes) -> None:
    """Refuse a place in the unpickler's memory far beyond those used: it would make room for all before it.

    Raises:
        UnpicklingError: There is one.
    """
    places = 0
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            places += 1
            if isinstance(argument, int) and argument > 2 * places + 1000:
                raise pickle.UnpicklingError(f"place {argument} in memory after {places}")


class _Plain:
    """Puts arrays in place of what stands for them, each once, however often the pickle refers to it.

    Args:
        room: Bytes that the arrays may take together: none has more than the pickle itself.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._done: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """The value with its parts replaced."""
        if not isinstance(value, PlainArray | PlainDtype | dict | list | tuple):
            return value
        if id(value) not in self._done:
            self._done[id(value)] = _UNDER_WAY
            self._done[id(value)] = self._made(value)
        if self._done[id(value)] is _UNDER_WAY:
            raise pickle.UnpicklingError("a value that holds itself")
        return self._done[id(value)]

    def _made(self, value: Any) -> Any:
        if isinstance(value, PlainDtype):
            raise pickle.UnpicklingError("a type in place of data")
        if isinstance(value, dict):
            return {key: self.of(part) for key, part in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.of(part) for part in value)
        if value.values is None:
            raise pickle.UnpicklingError("an array without content")
        self._room -= value.values.nbytes
        if self._room < 0:
            raise pickle.UnpicklingError("arrays that share their content")
        return value.values.copy()


_UNDER_WAY = object()
