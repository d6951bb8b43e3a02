"""Silhouettes of animals as in the PyPI package `animal-mnist`: two gzipped pickles, sorted by class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from . import pickles
from .guards import as_bytes, gunzip

MEMBERS = ("animal_data_version_3.gz", "animal_label_version_3.gz")
EVERY = 5
"""There is no published split: every fifth image of the file is a test image."""


def read(member: Callable[[str], bytes]) -> dict[str, npt.NDArray[Any]]:
    """Pixels and labels, split by their place in the file."""
    parts = [pickles.loads(gunzip(member(name), name), name) for name in MEMBERS]
    try:
        images = as_bytes(parts[0], MEMBERS[0]).reshape(-1, 1, 28, 28)
        labels = as_bytes(parts[1], MEMBERS[1], largest=9).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{MEMBERS[0]} is not what animal-mnist 0.4 ships: {error}", "fetch it again"
        ) from error
    if len(images) != len(labels):
        raise DataError(f"{len(images)} images and {len(labels)} labels in animal-mnist", "fetch it again")
    test = np.arange(len(labels)) % EVERY == EVERY - 1
    return {
        "train_images": images[~test],
        "train_labels": labels[~test],
        "test_images": images[test],
        "test_labels": labels[test],
    }
