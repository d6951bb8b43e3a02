"""The cropped digits of SVHN in MATLAB's format (Netzer et al. 2011)."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from .guards import AGAIN, LARGEST, as_bytes

MEMBERS = ("train_32x32.mat", "test_32x32.mat")


def read(member: Callable[[str], bytes]) -> dict[str, npt.NDArray[Any]]:
    """Images (N, 3, 32, 32) and labels (N,), in which the digit 0 is 0."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for split, name in zip(("train", "test"), MEMBERS, strict=True):
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = _parse(member(name), name)
    return arrays


def _parse(data: bytes, name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    from scipy.io import loadmat, whosmat

    # before room is made for them
    shapes = {variable: shape for variable, shape, _ in whosmat(io.BytesIO(data))}
    n = shapes.get("X", (0,))[-1]
    if shapes.get("X") != (32, 32, 3, n) or shapes.get("y") != (n, 1) or math.prod(shapes["X"]) > LARGEST:
        raise DataError(f"{name} holds {shapes}, not X (32, 32, 3, n) and y (n, 1)", AGAIN)
    found = loadmat(io.BytesIO(data), variable_names=("X", "y"))
    labels = as_bytes(found["y"][:, 0], name, 10)
    images = as_bytes(found["X"], name).transpose(3, 2, 0, 1)
    return np.ascontiguousarray(images), labels % np.uint8(10)  # the digit 0 is called 10
