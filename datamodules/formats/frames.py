"""Pickled pandas tables, read without pandas and without running anything the file names."""

from __future__ import annotations

import io
import math
import pickle
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from . import pickles
from .guards import unxz

Column = npt.NDArray[Any] | list[Any]


class _Dtype(pickles.PlainDtype):
    """Numbers, or objects, of which arrays of text are made."""

    allowed = re.compile(pickles.PlainDtype.allowed.pattern + "|O8")


class _Array(pickles.PlainArray):
    """Numbers, or a list of text."""

    texts: list[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, _, _, data = state
        if not isinstance(data, list):
            super().__setstate__(state)
            return
        if len(data) != math.prod(shape) or not all(_is_cell(x) for x in data):
            raise pickle.UnpicklingError("an array of objects that are no text")
        self.texts = data


def _is_cell(value: Any) -> bool:
    """Text, or what pandas writes in its place where there is none."""
    return value is None or isinstance(value, str | float)


class _Frame:
    """Stands for a table; its state holds the blocks."""

    columns: dict[str, Column]

    def __setstate__(self, state: Any) -> None:
        blocks, (names, _) = state["_mgr"]
        self.columns = {}
        texts = names["data"].texts or []
        for values, place, _ in blocks:
            where = range(len(texts))[place] if isinstance(place, slice) else _plain(place).tolist()
            self.columns.update((texts[i], row) for i, row in zip(where, _rows(values), strict=True))


def _plain(array: Any) -> npt.NDArray[Any]:
    """The numbers of an array, however it was pickled."""
    found = array.values if isinstance(array, _Array) else array
    if not isinstance(found, np.ndarray):
        raise pickle.UnpicklingError("no array of numbers")
    return found


def _rows(values: Any) -> list[Column]:
    """The columns of a block, which pandas stores as rows."""
    if isinstance(values, _Array) and values.texts is not None:
        return [values.texts]  # a block of one column of text
    return list(_plain(values))


def _parts(*parts: Any) -> tuple[Any, ...]:
    """Stands for what pandas makes a block, or the manager of blocks, of."""
    return parts


def _index(kind: Any, state: dict[str, Any]) -> dict[str, Any]:
    return state


_PANDAS = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.numeric", "_frombuffer"): pickles.array_of,
    ("numpy._core.numeric", "_frombuffer"): pickles.array_of,
    ("builtins", "slice"): slice,
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.internals.managers", "BlockManager"): _parts,
    ("pandas._libs.internals", "_unpickle_block"): _parts,
    ("pandas.core.indexes.base", "_new_Index"): _index,
    ("pandas.core.indexes.base", "Index"): "Index",
    ("pandas.core.indexes.range", "RangeIndex"): "RangeIndex",
    # since pandas 3
    ("pandas", "DataFrame"): _Frame,
    ("pandas", "Index"): "Index",
    ("pandas", "RangeIndex"): "RangeIndex",
}


class _FrameUnpickler(pickles.ArrayUnpickler):
    allowed: ClassVar[Mapping[tuple[str, str], Any]] = {**pickles.ArrayUnpickler.allowed, **_PANDAS}


def columns(data: bytes, where: str) -> dict[str, Column]:
    """The columns of a table that pandas pickled with protocol 5, packed with xz: arrays, or lists of text.

    Args:
        data: The file.
        where: What it was read from, for the error.

    Raises:
        DataError: It is no such file, is damaged, or names anything else.
    """
    try:
        whole = unxz(data, where)
        pickles.check_memo(whole)
        frame = _FrameUnpickler(io.BytesIO(whole), encoding="bytes").load()
        if not isinstance(frame, _Frame):
            raise pickle.UnpicklingError("it holds no table")
        return frame.columns
    except Exception as error:  # a hostile or damaged pickle can fail in any way
        raise DataError(
            f"{where} cannot be read as a table: {error}",
            "it is damaged or not the published file: delete it and fetch it again",
        ) from error
