"""Integrand's own file: one npz with the arrays and, as JSON, their digests and where they came from."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

META = "meta"


def read(data: bytes, where: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays and the meta data; pickled objects are refused.

    Raises:
        DataError: The file is truncated, damaged or holds something else.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != META}
            meta = json.loads(str(file[META])) if META in file.files else {}
    except (EOFError, OSError, KeyError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{where} is damaged: {error}", "delete it and fetch it again") from error
    return arrays, meta


def write(file: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write uncompressed: the cache is read far more often than it is written."""
    members: dict[str, Any] = {**arrays, META: np.array(json.dumps(dict(meta), sort_keys=True))}
    np.savez(file, **members)
