"""Integrand's own file: one npz with the arrays and, as JSON, their digests and where they came from."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from .guards import LARGEST, damaged

META = "meta"


def read(data: bytes, where: str) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays and the meta data; pickled objects are refused.

    Raises:
        DataError: The file is truncated, damaged or holds something else.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > LARGEST:
            raise DataError(f"{where} would unfold to {size} bytes", "do not trust this file")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != META}
            meta = json.loads(str(file[META])) if META in file.files else {}
    except DataError:
        raise
    except Exception as error:  # damaged bytes can fail in any way
        raise damaged(where, error) from error
    if not isinstance(meta, dict):
        raise damaged(where, ValueError("its meta data is no object"))
    return arrays, meta


EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold


def write_small(path: Path, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write packed with LZMA, the same bytes every time; for files that travel inside the package."""
    members = dict(arrays) | {META: np.array(json.dumps(dict(meta), sort_keys=True))}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in members.items():
            data = io.BytesIO()
            np.save(data, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", EPOCH), data.getvalue(), zipfile.ZIP_LZMA)


def write(file: BinaryIO, arrays: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write uncompressed: the cache is read far more often than it is written."""
    members: dict[str, Any] = {**arrays, META: np.array(json.dumps(dict(meta), sort_keys=True))}
    np.savez(file, **members)
