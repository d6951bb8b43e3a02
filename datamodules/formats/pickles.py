"""An unpickler that can build numpy arrays and nothing else."""

from __future__ import annotations

import io
import pickle
import warnings
from typing import Any

import numpy as np

from integrand.errors import DataError


def _latin1(text: str, encoding: str) -> bytes:
    """The one use that numpy's pickles make of `_codecs.encode`."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
    return text.encode("latin1")


def _reconstruct(subtype: type, shape: tuple[int, ...], dtype: Any) -> Any:
    """What numpy calls to begin an array; `subtype` is the type itself in every honest pickle."""
    if subtype is not np.ndarray:
        raise pickle.UnpicklingError(f"{subtype!r} is not an array type")
    return np.ndarray.__new__(np.ndarray, shape, dtype)


_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
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
        with warnings.catch_warnings():
            # numpy 2.4 deprecates the `align=0` that pickles of Python 2 hold
            warnings.simplefilter("ignore")
            return _ArrayUnpickler(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a hostile or damaged pickle can fail in any way
        raise DataError(
            f"{where} cannot be read as plain arrays: {error}",
            "it is damaged or not the published file: delete it and fetch it again",
        ) from error
