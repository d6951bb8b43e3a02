"""Images or vectors of the user's own, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from integrand.errors import UsageError
from integrand.spec import Question, Spec, VectorSpec

from ..finite import LARGEST, is_usable
from ..images.augment import Augmentation
from ..images.base import Scaling
from ..images.loading import Inputs
from .answers import Answers, Rows, words
from .array_files import Array, check_numbers, choose, read_arrays
from .base import OwnDataModule
from .cards import ARRAYS
from .picture_source import image_spec, pixel_scaling
from .source import Description, Source
from .stores import ArrayRows, Stacked, moments

_BLOCK = 1 << 24  # bytes of an array that are looked at together


class Arrays(OwnDataModule):
    """Images or vectors from a .npz, a .npy, or a folder of such files.

    Arrays of shape (n, features) are vectors; (n, height, width), (n, height, width, channels) and
    (n, channels, height, width) with 1 or 3 channels are images. Names like `x` and `y`, or `x_train`,
    `y_train`, `x_test`, `y_test` say what is what; without answers the distribution is asked for. A .npy
    stays on disk and is read where it lies. Nothing is unpickled.

    Args:
        path: The file or folder.
        inputs: Name of the array of inputs; guessed from usual names.
        answers: Name of the array of classes or numbers; guessed from usual names.
        normalise: Scale of images: zero mean and unit deviation per channel, [0, 1], or [-1, 1].
        augment: Changes of the training images, such as RandomCrop; none by default.
        **kwargs: See `OwnDataModule`.
    """

    card = ARRAYS

    def __init__(
        self,
        path: str,
        inputs: str = "",
        answers: str = "",
        normalise: Scaling = "standard",
        augment: list[Augmentation] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path, self.keys, self.normalise = path, (inputs, answers), normalise
        self.augment = augment or ()

    @classmethod
    def pixel_options(cls, shape: Sequence[int]) -> dict[str, Any]:
        """See `OwnDataModule.pixel_options`."""
        return {"normalise": "unit"}

    def source(self) -> Source:
        """See `OwnDataModule.source`."""
        arrays = read_arrays(self.path)
        keys, guessed = choose(arrays, *self.keys, self.path)
        return ArraySource(self.path, arrays, keys, self.normalise, [guessed] if guessed else [])


class ArraySource(Source):
    """Arrays with a known part each.

    Args:
        path: What the user calls them.
        arrays: Arrays by key.
        keys: Keys by part and role: `x`, `y`, `id`.
        normalise: Scale of images.
        said: Lines for the user.

    Raises:
        UsageError: Shapes, types or lengths cannot be right.
    """

    def __init__(
        self,
        path: str,
        arrays: dict[str, Array],
        keys: dict[str, dict[str, str]],
        normalise: Scaling,
        said: Sequence[str],
    ) -> None:
        pieces, labels, ids, parts = _pieces(arrays, keys, path)
        if len({x.shape[1:] for x in pieces}) > 1:
            raise UsageError(
                f"{path}: samples of different shapes {', '.join(str(x.shape) for x in pieces)}",
                "give all parts samples of one shape",
            )
        given = [y for y in labels if y is not None]
        if given and len(given) < len(labels):
            raise UsageError(
                f"{path}: some parts have answers and some have none", "give answers to each part"
            )
        self.array: Array | Stacked = pieces[0] if len(pieces) == 1 else Stacked(pieces)
        answers = None
        if given:
            whole = np.concatenate(given)
            names = ("y",) if whole.ndim == 1 else tuple(f"y{i + 1}" for i in range(whole.shape[1]))
            answers = Answers(whole, names)
        name = Path(path).expanduser().resolve().stem or "arrays"
        super().__init__(path, name, ids, answers, parts if any(parts) else None, said)
        self.normalise = normalise
        self.channels_last = self._images and len(self.array.shape) == 4 and self.array.shape[-1] in (1, 3)
        self._check()

    @property
    def _images(self) -> bool:
        return len(self.array.shape) > 2

    def _check(self) -> None:
        """Every value is finite in float32; images have a shape that is one."""
        shape = self.array.shape
        if self._images and not (len(self.array.shape) == 3 or self.channels_last or shape[1] in (1, 3)):
            raise UsageError(
                f"{self.where}: samples of shape {shape[1:]} are neither vectors nor images",
                "give (n, features), or images of 1 or 3 channels: (n, height, width, channels)",
            )
        if self.array.dtype.kind != "f":
            return
        size = max(1, _BLOCK // (self.array.dtype.itemsize * int(np.prod(shape[1:]))))
        for start in range(0, len(self.array), size):
            good = is_usable(self.array[start : start + size]).all(axis=tuple(range(1, len(shape))))
            if not good.all():
                i = start + int(np.argmin(good))
                raise UsageError(
                    f"{self.where}: sample {i} (counted from 0) holds NaN, or values beyond ±{LARGEST:.1g}",
                    "leave it out, or fill it in",
                )

    def describe(self, train: Rows) -> dict[str, Any]:
        """See `Source.describe`."""
        rows = self._rows()
        mean, std = moments(rows, train)
        if not self._images:
            constant = [i for i, s in enumerate(std) if not s > 1e-12 * abs(mean[i])]
            if len(constant) == len(std):
                raise UsageError(f"{self.where}: every feature is constant in training", "give others")
            if constant:
                self.said.append(f"{self.where}: {len(constant)} features are constant in training")
            std = [1.0 if i in set(constant) else s for i, s in enumerate(std)]
            self.said.append(
                f"{self.where}: vectors of {len(mean)} features, scaled by {len(train)} training rows"
            )
            return {"shape": [len(mean)], "mean": mean, "std": std}
        if min(std) <= 0:
            raise UsageError(
                f"{self.where}: every pixel of a channel is alike", "give images that show something"
            )
        white = 255.0 if self.array.dtype == np.uint8 else _largest(rows, train)
        shape = [int(n) for n in rows.shape[1:]]
        self.said.append(
            f"{self.where}: images of shape {'×'.join(map(str, shape))}, white is {white:g}; "
            f"scaled by {len(train)} training images"
        )
        return {
            "shape": shape,
            "normalise": self.normalise,
            "mean": [m / white for m in mean],
            "std": [s / white for s in std],
            "white": white,
        }

    def spec(self, question: Question, description: Description) -> Spec:
        """See `Source.spec`."""
        if self._images:
            return image_spec(self.name, question, description)
        return VectorSpec(self.name, question, int(description["shape"][0]))

    def inputs(self, description: Description) -> tuple[Inputs, list[float], list[float]]:
        """See `Source.inputs`."""
        rows = self._rows()
        if list(rows.shape[1:]) != list(description["shape"]):
            raise UsageError(
                f"{self.where}: samples of shape {tuple(rows.shape[1:])}, and the model takes "
                f"{tuple(description['shape'])}",
                "give samples of the shape that it was trained on",
            )
        if self._images:
            return rows, *pixel_scaling(description)
        mean, std = (np.array(description[key]) for key in ("mean", "std"))
        # in float64: a large mean would leave nothing of float32
        scaled = ArrayRows(self.array, rows.shape, lambda x: ((x - mean) / std).astype(np.float32))
        return scaled, [1.0] * len(mean), [0.0] * len(mean)

    def content(self) -> Iterator[bytes]:
        """Type, shape and bytes."""
        yield f"{self.array.dtype.str} {self.array.shape}".encode()
        size = max(1, _BLOCK // max(1, self.array[:1].nbytes))
        for start in range(0, len(self.array), size):
            yield np.ascontiguousarray(self.array[start : start + size]).tobytes()

    def _rows(self) -> ArrayRows:
        """As they are stored; images with their channels first."""
        n, *rest = self.array.shape
        if not self._images:
            return ArrayRows(self.array, (n, *rest), lambda x: x.astype(np.float64))
        kept = np.uint8 if self.array.dtype == np.uint8 else np.float32
        if len(self.array.shape) == 3:
            return ArrayRows(self.array, (n, 1, *rest), lambda x: x[:, None].astype(kept))
        if self.channels_last:
            height, width, channels = rest
            return ArrayRows(
                self.array, (n, channels, height, width), lambda x: x.transpose(0, 3, 1, 2).astype(kept)
            )
        return ArrayRows(self.array, (n, *rest), lambda x: x.astype(kept))


def _pieces(
    arrays: dict[str, Array], keys: dict[str, dict[str, str]], path: str
) -> tuple[list[Array], list[Array | None], list[str], list[str]]:
    """Inputs and answers of each part; name and part of each sample."""
    pieces: list[Array] = []
    labels: list[Array | None] = []
    ids: list[str] = []
    parts: list[str] = []
    for part, named in keys.items():
        x = arrays[named["x"]]
        check_numbers(x, f"{path}, {named['x']}")
        if x.ndim < 2 or not x.size:
            raise UsageError(
                f"{path}: {named['x']} has the shape {x.shape}", "give (samples, features) or images"
            )
        pieces.append(x)
        labels.append(_answers(arrays, named, len(x), path))
        ids += _ids(arrays, named, len(x), part)
        parts += [part] * len(x)
    return pieces, labels, ids, parts


def _answers(arrays: dict[str, Array], named: dict[str, str], n: int, path: str) -> Array | None:
    if "y" not in named:
        return None
    y = arrays[named["y"]]
    if len(y.shape) not in (1, 2) or len(y) != n:
        raise UsageError(
            f"{path}: {named['x']} has {n} samples, and {named['y']} has the shape {y.shape}",
            "give one answer for each sample: set data.answers",
        )
    if y.dtype.kind not in "biufUS":
        raise UsageError(f"{path}, {named['y']} holds {y.dtype}", "give numbers or text")
    y = np.array(y)
    if y.dtype.kind == "S":
        y = np.char.decode(y, "utf-8", "replace")
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def _ids(arrays: dict[str, Array], named: dict[str, str], n: int, part: str) -> list[str]:
    """Names that lie beside the samples, else their place."""
    key = named.get("id")
    if key is not None and arrays[key].shape == (n,):
        return words(np.array(arrays[key]))
    prefix = f"{part}/" if part else ""
    return [f"{prefix}{i}" for i in range(n)]


def _largest(rows: ArrayRows, train: Rows) -> float:
    """The largest absolute value in training, which counts as white."""
    largest = 0.0
    for start in range(0, len(train), 1024):
        block: Tensor = rows.index_select(0, torch.from_numpy(train[start : start + 1024]))
        largest = max(largest, float(block.abs().max()))
    return 1.0 if 0 < largest <= 1 else largest
