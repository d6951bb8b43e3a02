"""Data sets of the Hugging Face hub, and those that its library `datasets` saved."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from integrand.errors import IntegrandError, UsageError

from ..acquire.fetch import offline
from ..images.augment import Augmentation
from ..images.base import Scaling
from ..series.own.table import Table
from .answers import Answers, listed
from .base import OwnDataModule
from .cards import HUGGING_FACE
from .csv_table import TableSource, Wanted, as_trained, choose
from .parts import part_of
from .picture_source import Colour, PictureSource, Wishes, unit_pixels
from .pictures import FORMATS, Fit
from .source import Source

_TARGETS = ("label", "labels", "fine_label", "target", "class")
_SAVED = ("dataset_info.json", "dataset_dict.json")
_INSTALL = "pip install 'integrand[hf]'"
_LARGEST = 1 << 31  # bytes of a table, which is held in memory


class HuggingFace(OwnDataModule):
    """Images or tables from the Hugging Face hub, or from a folder that `datasets` saved.

    A column of images makes images, decoded when a batch asks for them; otherwise every row is a sample of
    a table, as in `CSVTable`. The data set's own splits train, validate and test; what is missing is held
    out of training. No code of a data set is run.

    Args:
        name: Name on the hub, such as `beans`, or a folder.
        split: The only split that is used, such as `train`; by default those that are called train,
            validation and test.
        subset: Configuration of the data set, where it has several.
        image: Column of the images; by default the first one.
        target: Column of what is asked for; by default one that is called label or holds classes.
        side: Height and width that images are brought to; by default the median shorter side, at most 64.
        fit: How other shapes become square: `crop` takes the middle, `pad` fills with black, `stretch`.
        colour: Whether inputs are `grey` or `rgb`; by default grey if every image is.
        normalise: Scale of the pixels: zero mean and unit deviation per channel, [0, 1], or [-1, 1].
        augment: Changes of the training images, such as RandomCrop; none by default.
        **kwargs: See `OwnDataModule`.
    """

    card = HUGGING_FACE

    def __init__(
        self,
        name: str,
        split: str = "",
        subset: str | None = None,
        image: str = "",
        target: str = "",
        side: int | None = None,
        fit: Fit = "crop",
        colour: Colour = "auto",
        normalise: Scaling = "standard",
        augment: list[Augmentation] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.data_set, self.split, self.subset = name, split, subset
        self.columns, self.augment = (image, target), augment or ()
        self.wishes = Wishes(side, fit, colour, normalise)

    @classmethod
    def pixel_options(cls, shape: Sequence[int]) -> dict[str, Any]:
        """See `OwnDataModule.pixel_options`."""
        return unit_pixels(shape)

    def source(self) -> Source:
        """See `OwnDataModule.source`."""
        data, parts, said = _joined(_load(self.data_set, self.subset), self.split, self.data_set)
        image, target = self.columns
        for option, column in (("image", image), ("target", target)):
            if column and column not in data.column_names:
                raise UsageError(
                    f"{self.data_set} has no column {column!r}: set data.{option}",
                    f"it has {listed(data.column_names)}",
                )
        kinds = {column: type(feature).__name__ for column, feature in data.features.items()}
        image = image or next((c for c, kind in kinds.items() if kind == "Image"), "")
        target = target or _target(kinds)
        slug = Path(self.data_set).name or "hugging-face"
        if image:
            return HubImages(self.data_set, slug, data, parts, said, (image, target), self.wishes)
        return self._table(data, parts, said, target, slug)

    def _table(
        self, data: Any, parts: Sequence[str] | None, said: Sequence[str], target: str, name: str
    ) -> Source:
        """The rows as a table."""
        if (data.data.nbytes or 0) > _LARGEST:
            raise UsageError(
                f"{self.data_set} is a table of {data.data.nbytes / 1e9:.1f} GB", "take one split of it"
            )
        frame = data.to_pandas()
        for column, feature in data.features.items():
            if type(feature).__name__ == "ClassLabel":
                names = dict(enumerate(feature.names))
                frame[column] = frame[column].map(names)
        table = Table(self.data_set, frame)
        if self.described is None:
            chosen, guessed = choose(table, Wanted((target,) if target else ()))
        else:
            chosen, guessed = as_trained(table, self.described, Wanted())
        found = TableSource(table, name, chosen, [*said, *guessed])
        found.parts = parts if parts is not None else found.parts
        return found


class HubImages(PictureSource):
    """Encoded images of a column.

    Args:
        where: What messages call the data set.
        name: Name of the data set.
        data: The data set, its images not decoded.
        parts: The part of each row.
        said: Lines for the user.
        columns: Columns of the images and of the answers; the latter may be empty.
        wishes: How they become inputs.
    """

    def __init__(
        self,
        where: str,
        name: str,
        data: Any,
        parts: Sequence[str] | None,
        said: Sequence[str],
        columns: tuple[str, str],
        wishes: Wishes,
    ) -> None:
        from datasets import Image as Encoded

        image, target = columns
        self.data, self.column = data.cast_column(image, Encoded(decode=False)), image
        self.answers_column = target
        ids = [str(row) for row in range(len(data))]
        labels = [f"{where}, row {row}" for row in ids]
        super().__init__(
            *(where, name, ids, _answers(data, target), parts, said, labels, self._opened, wishes)
        )

    def _opened(self, row: int) -> Image.Image:
        return Image.open(io.BytesIO(self._bytes(row)), formats=FORMATS)

    def _bytes(self, row: int) -> bytes:
        found: Mapping[str, Any] = self.data[row][self.column]
        return found["bytes"] if found["bytes"] is not None else Path(found["path"]).read_bytes()

    def content(self) -> Iterator[bytes]:
        """The encoded images."""
        for row in range(len(self.data)):
            yield self._bytes(row)


def _load(name: str, subset: str | None) -> Mapping[str, Any]:
    """The splits of a data set, by name.

    Raises:
        UsageError: The library is missing, or there is no such data set.
    """
    folder = Path(name).expanduser()
    if offline() and not folder.is_dir():
        raise UsageError(
            f"--data.name {name} is no folder, and INTEGRAND_OFFLINE forbids the download",
            "INTEGRAND_OFFLINE=0 allows it",
        )
    if offline():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read once, when the library is imported
    try:
        import datasets
    except ImportError as error:
        raise UsageError("HuggingFace needs the package datasets", _INSTALL) from error
    try:
        if any((folder / mark).is_file() for mark in _SAVED):
            found = datasets.load_from_disk(str(folder))
        else:
            found = datasets.load_dataset(str(folder) if folder.is_dir() else name, subset)
    except Exception as error:  # the library raises its own, the hub's and the disk's
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UsageError(f"{name} cannot be loaded: {first}", "correct data.name or data.subset") from error
    return found if isinstance(found, dict) else {"": found}


def _joined(splits: Mapping[str, Any], split: str, name: str) -> tuple[Any, list[str] | None, list[str]]:
    """One data set with the part of each row, None where nobody says, and lines for the user."""
    import datasets

    if split and split not in splits:
        raise UsageError(f"{name} has no split {split!r}: set data.split", f"it has {listed(list(splits))}")
    if split or len(splits) == 1:
        return splits[split or next(iter(splits))], None, []
    # several splits of one meaning, such as test sets of two kinds: the first counts
    chosen: dict[str, str] = {}
    for key in splits:
        if part := part_of(key):
            chosen.setdefault(part, key)
    if "train" not in chosen:
        raise UsageError(
            f"{name}: none of its splits {listed(list(splits))} is called train", "set data.split"
        )
    ignored = [key for key in splits if key not in chosen.values()]
    try:
        data = datasets.concatenate_datasets([splits[key] for key in chosen.values()])
    except IntegrandError:
        raise
    except Exception as error:  # columns that differ
        first = (str(error).strip().splitlines() or [""])[0][:200]
        raise UsageError(
            f"{name}: its splits have different columns: {first}", "set data.split to one"
        ) from error
    parts = [part for part, key in chosen.items() for _ in range(len(splits[key]))]
    return data, parts, [f"{name}: the splits {listed(ignored)} are left out"] if ignored else []


def _target(kinds: Mapping[str, str]) -> str:
    """The column of the answers: by its name, else the first of classes; empty where there is none."""
    named = next((name for name in _TARGETS if name in kinds), "")
    return named or next((c for c, kind in kinds.items() if kind == "ClassLabel"), "")


def _answers(data: Any, column: str) -> Answers | None:
    if not column:
        return None
    feature = data.features[column]
    values = np.array(data[column][:], dtype=None if feature.dtype != "string" else object)
    names = tuple(feature.names) if type(feature).__name__ == "ClassLabel" else ()
    if names and values.min() < 0:
        return None  # the hub's mark of an answer that is held back
    return Answers(values, (column,), names)
