"""The IDX files of MNIST and Fashion-MNIST (LeCun, Cortes and Burges, 1998)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from .guards import gunzip

MEMBERS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
KEYS = ("train_images", "train_labels", "test_images", "test_labels")
_UBYTE = 0x08


def header(shape: tuple[int, ...]) -> bytes:
    """The header of an IDX file of unsigned bytes: magic number, then each length, big-endian."""
    return struct.pack(f">{1 + len(shape)}I", _UBYTE << 8 | len(shape), *shape)


def parse(data: bytes, where: str) -> npt.NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, gzipped or not.

    Raises:
        DataError: The bytes are no such file, or some are missing.
    """
    if data[:2] == b"\x1f\x8b":
        data = gunzip(data, where)
    if len(data) < 8 or data[:3] != b"\x00\x00\x08" or len(data) < 4 + 4 * data[3]:
        raise DataError(
            f"{where} is no IDX file: it starts with {data[:8]!r}", "delete it and fetch it again"
        )
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    body = memoryview(data)[4 + 4 * data[3] :]
    expected = math.prod(shape)
    if len(body) != expected:
        raise DataError(
            f"{where} holds {len(body)} bytes where {shape} needs {expected}", "delete it and fetch it again"
        )
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def read(member: Callable[[str], bytes], members: Sequence[str] = MEMBERS) -> dict[str, npt.NDArray[Any]]:
    """The four files as images (N, 1, H, W) and labels (N,)."""
    arrays = {key: parse(member(name), name) for key, name in zip(KEYS, members, strict=True)}
    return {k: a[:, None] if a.ndim == 3 else a for k, a in arrays.items()}
