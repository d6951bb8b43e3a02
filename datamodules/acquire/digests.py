"""sha256 over the content of a data set, in the byte layout of the published files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from integrand.errors import DataError

from ..card import DataCard
from ..formats import idx

Digests = dict[str, str]
Buffer = bytes | memoryview
_ROWS = 5000  # of an interleaved copy at a time


def content_digests(card: DataCard, arrays: Mapping[str, npt.NDArray[Any]]) -> Digests:
    """The digest of each part, comparable with `card.digests` where that has any.

    With encoding `idx` a part is one array behind its IDX header, so that the digest is that of the published
    file; with `cifar` a part is one split as rows of label byte and pixel bytes, as in the binary version's
    files joined; with `arrays`, for files that were read into numbers, the one part `content` is all arrays
    in the order of their names, each behind name, type and shape.
    """
    parts: dict[str, Iterator[Buffer]]
    if card.encoding == "arrays":
        parts = {"content": _named(arrays)}
    elif card.encoding == "cifar":
        parts = {split: _cifar_rows(arrays, split) for split in ("train", "test")}
    else:
        parts = {key: _idx_file(array) for key, array in sorted(arrays.items())}
    return {name: _sha256(chunks) for name, chunks in parts.items()}


def check(card: DataCard, found: Digests, where: str) -> None:
    """Compare digests with those of the card.

    Raises:
        DataError: The content is not the published one.
    """
    wrong = [part for part, digest in card.digests.items() if found.get(part) != digest]
    if wrong:
        raise DataError(
            f"the content in {where} is not {card.name}: the sha256 of {', '.join(wrong)} differs",
            "delete it, or put each data set in a folder of its own name; "
            f"integrand data fetch {card.name} --force fetches a good copy",
        )


def _idx_file(array: npt.NDArray[Any]) -> Iterator[Buffer]:
    shape = array.shape[:1] + array.shape[2:] if array.ndim == 4 and array.shape[1] == 1 else array.shape
    yield idx.header(shape)
    yield np.ascontiguousarray(array, dtype=np.uint8).data


def _named(arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[Buffer]:
    for key, array in sorted(arrays.items()):
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        yield f"{key} {little.dtype.str} {little.shape}\n".encode()
        yield little.tobytes()


def _cifar_rows(arrays: Mapping[str, npt.NDArray[Any]], split: str) -> Iterator[Buffer]:
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    pixels = images.reshape(len(images), -1)
    for start in range(0, len(images), _ROWS):
        block = slice(start, start + _ROWS)
        rows = np.concatenate([labels[block, None].astype(np.uint8), pixels[block]], axis=1)
        yield rows.data


def _sha256(chunks: Iterator[Buffer]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
