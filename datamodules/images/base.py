"""The datamodule that every set of labelled images shares."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from integrand.errors import SpecError, UsageError
from integrand.spec import ImageSpec

from ..acquire import progress
from ..acquire.fetch import ensure
from ..acquire.lookup import Place, load
from ..base import DESCRIBED, DataModule
from ..card import DataCard
from ..loader import EpochLoader
from ..sharding import even_batch_size, sharded
from .augment import Augmentation
from .loading import EpochShuffle, ImageSet, generator, identity
from .split import stratified

Scaling = Literal["standard", "unit", "symmetric"]


class ImageDataModule(DataModule):
    """Labelled images, kept whole as one uint8 tensor and made into batches where they lie.

    A batch is `(x, y)`: x float32 of shape (B, channels, height, width), y int64 of shape (B,). A part of the
    training set is held out for validation, the same on every machine; the test set never chooses anything.

    Args:
        data_dir: Folder that is searched first; the published files in any usual layout (docs/data.md).
        batch_size: Images per training batch and process.
        eval_batch_size: Images per batch in validation, test and prediction.
        val_size: Held-out part of the training set: a fraction below 1, or a number of images.
        split_seed: Seed of the held-out part; leave it fixed to compare runs of different seeds.
        seed: Seed of order and augmentation; by default the run's own seed.
        augment: Changes of the training images: `standard` (the usual ones of this set), a list, or null.
        normalise: Scale of the pixels: zero mean and unit deviation per channel, [0, 1], or [-1, 1].
        device: Where the images are kept: on the GPU of the run if it has one, or always on the CPU.
        train_limit: Use this many training images only, the same share of each class; for quick runs.
        drop_last: Leave out the last training batch if it is smaller than the others.
        verify: Check the content against its published digest.
        label_noise: Share of training and validation labels that are replaced by another class, each as
            likely; drawn by `split_seed`. Test labels stay as they are.

    Attributes:
        card: What is known about the data set.
        spec: Shapes and classes, known before any data is read.
        digest: sha256 over what is used, available after `setup`.
        place: Where the data was found, available after `setup`.
    """

    card: ClassVar[DataCard]
    standard_augment: ClassVar[Sequence[Augmentation]] = ()

    def __init__(
        self,
        data_dir: str | None = None,
        batch_size: int = 128,
        eval_batch_size: int = 512,
        val_size: int | float = 0.1,
        split_seed: int = 0,
        seed: int | None = None,
        augment: Literal["standard"] | list[Augmentation] | None = "standard",
        normalise: Scaling = "standard",
        device: Literal["auto", "cpu"] = "auto",
        train_limit: int | None = None,
        drop_last: bool = False,
        verify: bool = True,
        label_noise: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= label_noise <= 1:
            raise UsageError(f"label_noise={label_noise} is no share", "give a number from 0 to 1")
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise UsageError(f"{name}={value} makes no batch", "give at least 1")
        if train_limit is not None and train_limit < 1:
            raise UsageError(
                f"train_limit={train_limit} leaves nothing to train on", "give at least 1, or leave it out"
            )
        self.data_dir = data_dir
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.split_seed = split_seed
        self.seed = seed
        self.augment = list(self.standard_augment) if augment == "standard" else list(augment or ())
        self.normalise = normalise
        self.device = device
        self.train_limit = train_limit
        self.drop_last = drop_last
        self.verify = verify
        self.label_noise = label_noise
        self.n_val = self._held_out(val_size)
        self.digest = ""
        self.place: Place | None = None
        self._splits: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def files(self) -> DataCard:
        """The card whose files are read; that of a member where the set is a collection."""
        return self.card

    def again(self, **options: Any) -> ImageDataModule:
        """Another module of the same files."""
        return type(self)(**options)

    @property
    def spec(self) -> ImageSpec:
        """What a model takes from the data."""
        assert isinstance(self.files.spec, ImageSpec)
        return replace(self.files.spec, bin_widths=tuple(self._scaling()[0]))

    @property
    def sizes(self) -> dict[str, int]:
        """Number of images used by split: `n_train`, `n_val`, `n_test`."""
        n_train = self.files.counts["train"] - self.n_val
        return {
            "n_train": min(n_train, self.train_limit or n_train),
            "n_val": self.n_val,
            "n_test": self.files.counts["test"],
        }

    def prepare_data(self) -> None:
        """Make sure the data is on this machine; Lightning calls it in one process per machine.

        Raises:
            DataError: It is nowhere and may not or cannot be downloaded; the remedy names every way.
        """
        with progress.shown() as report:
            ensure(self.files, self.data_dir, report)

    def setup(self, stage: str | None = None) -> None:
        """Read, check, split, and move the images to their device; again only the last.

        Raises:
            DataError: The data is missing, damaged, or not what its digest says.
            SpecError: Its shapes or labels contradict the spec.
        """
        if not self._splits:
            loaded = load(self.files, ensure(self.files, self.data_dir), self.verify)
            self._check_spec(loaded.arrays)
            labels = loaded.arrays["train_labels"]
            arrays = {**loaded.arrays, "train_labels": self._flipped(labels)}
            train, val = stratified(labels, self.n_val, self.split_seed)
            if self.train_limit is not None and self.train_limit < len(train):
                _, chosen = stratified(labels[train], self.train_limit, self.split_seed)
                train = train[chosen]
            self._splits = {
                "train": _tensors(arrays, "train", train),
                "val": _tensors(arrays, "train", val),
                "test": _tensors(arrays, "test", None),
            }
            digests = dict(loaded.digests)
            if self.label_noise:
                digests["label_noise"] = f"{self.label_noise} {self.split_seed}"
            self.digest = _digest(self.files.name, digests, train, val)
            self.place = loaded.place
        device = self._device()
        self._splits = {name: (x.to(device), y.to(device)) for name, (x, y) in self._splits.items()}

    def train_dataloader(self) -> EpochLoader:
        """Shuffled and augmented, both by seed and epoch alone."""
        seed = self._seed()
        data = self._set("train", self.augment, seed)
        return EpochLoader(
            data,
            batch_size=self.batch_size,
            sampler=sharded(EpochShuffle(data, seed), self, self.batch_size, self.drop_last),
            num_workers=0,
            collate_fn=identity,
            drop_last=self.drop_last,
            generator=generator("loader", seed, 0),
        )

    def val_dataloader(self) -> EpochLoader | list[Any]:
        """The held-out part in order; an empty list if there is none."""
        return self._in_order("val") if self.n_val else []

    def test_dataloader(self) -> EpochLoader:
        """The test set in order."""
        return self._in_order("test")

    def predict_dataloader(self) -> EpochLoader:
        """The test set in order, labels included."""
        return self._in_order("test")

    def some(self, split: str, n: int) -> tuple[Tensor, Tensor]:
        """Images of a split with their labels, as a model sees them, not augmented; the same at every call.

        Taken in an order of their own, because neighbours in a file may have one writer or class in common.

        Args:
            split: `train`, `val` or `test`.
            n: How many; all of the split where it has fewer.
        """
        data = self._set(split, (), 0)
        rows = np.argsort(np.random.PCG64(0).random_raw(len(data)), kind="stable")
        images, labels = data.__getitems__(rows[:n].tolist())
        return images, labels

    def whole_train(self) -> tuple[Tensor, Tensor]:
        """Every published training image and label as bytes, whatever is held out or left out here."""
        plain = self.again(data_dir=self.data_dir, val_size=0, device="cpu", verify=self.verify)
        plain.setup()
        return plain._splits["train"]

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that the model can be asked about pictures in files."""
        described = {
            "spec": self.spec.to_dict(),
            "shape": list(self.spec.shape),
            "normalise": self.normalise,
            "mean": list(self.files.mean),
            "std": list(self.files.std),
            "white": 255,  # of those pictures
        }
        return {DESCRIBED: described}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: the card says it."""

    def denormalise(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] from normalised ones, for pictures; shape (…, C, H, W)."""
        scale, shift = self._scaling()
        back = (x - x.new_tensor(shift).view(-1, 1, 1)) / x.new_tensor(scale).view(-1, 1, 1)
        return (back / self.files.pixel_max).clamp(0, 1)

    def scaled(self, pixels: Tensor) -> Tensor:
        """Inputs as a model sees them from pixels in [0, 1], shape (…, C, H, W); inverts `denormalise`."""
        scale, shift = self._scaling()
        factor = pixels.new_tensor(scale).view(-1, 1, 1) * self.files.pixel_max
        return pixels * factor + pixels.new_tensor(shift).view(-1, 1, 1)

    def _set(self, split: str, augment: Sequence[Augmentation], seed: int) -> ImageSet:
        if not self._splits:
            self.setup()
        scale, shift = self._scaling()
        images, labels = self._splits[split]
        return ImageSet(images, labels, scale, shift, augment, seed)

    def _in_order(self, split: str) -> EpochLoader:
        # a generator of its own keeps the loader from drawing from torch's global one
        data = self._set(split, (), 0)
        return EpochLoader(
            data,
            batch_size=even_batch_size(len(data), self.eval_batch_size, self),
            sampler=sharded(SequentialSampler(data), self, None),
            num_workers=0,
            collate_fn=identity,
            generator=generator("loader", 0, 0),
        )

    def _scaling(self) -> tuple[list[float], list[float]]:
        """Factor and shift of each channel, from byte to input."""
        return scaling(self.normalise, self.files.mean, self.files.std, self.files.pixel_max)

    def _seed(self) -> int:
        return int(os.environ.get("PL_GLOBAL_SEED", "0")) if self.seed is None else self.seed

    def _device(self) -> torch.device:
        root = self.trainer.strategy.root_device if self.trainer is not None else None
        return (
            root
            if root is not None and self.device == "auto" and root.type == "cuda"
            else torch.device("cpu")
        )

    def _held_out(self, val_size: int | float) -> int:
        total = self.files.counts["train"]
        fraction = 0 < val_size < 1
        count = round(val_size * total) if fraction else int(val_size)
        if not 0 <= count < total or not (fraction or count == val_size):
            raise UsageError(
                f"val_size={val_size} cannot be held out of {total} training images",
                f"give a fraction below 1, or a number below {total}",
            )
        return count

    def _flipped(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Labels of which exactly the share `label_noise`, of all classes together, are wrong."""
        keys, shifts = np.random.PCG64([self.split_seed, 1]).random_raw((2, len(labels)))
        wrong = np.argsort(keys, kind="stable")[: round(self.label_noise * len(labels))]
        changed = labels.copy()
        classes = self.spec.num_classes
        changed[wrong] = (labels[wrong] + 1 + shifts[wrong] % (classes - 1)) % classes
        return changed

    def _check_spec(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        for split, count in self.files.counts.items():
            images, labels = arrays.get(f"{split}_images"), arrays.get(f"{split}_labels")
            if images is None or labels is None or len(images) != count or labels.shape != (count,):
                found = None if images is None else len(images)
                raise SpecError(
                    f"{self.files.name}: {found} {split} images where the card says {count}", _CARD
                )
            if images.shape[1:] != self.spec.input_shape:
                raise SpecError(
                    f"{self.files.name}: {split} images have shape {images.shape[1:]}, the spec says "
                    f"{self.spec.input_shape}",
                    _CARD,
                )
            self._check_values(images, labels)

    def _check_values(self, images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> None:
        if images.dtype != np.uint8 or int(images.max()) > self.files.pixel_max:
            raise SpecError(f"{self.files.name}: pixels are not bytes up to {self.files.pixel_max}", _CARD)
        if int(labels.min()) < 0 or int(labels.max()) >= self.spec.num_classes:
            raise SpecError(
                f"{self.files.name}: labels go from {labels.min()} to {labels.max()}, the spec says "
                f"{self.spec.num_classes} classes",
                _CARD,
            )


_CARD = "correct the card or the files; a datamodule's card must describe what its files hold"


def scaling(
    normalise: Scaling, mean: Sequence[float], std: Sequence[float], white: float
) -> tuple[list[float], list[float]]:
    """Factor and shift of each channel, from pixel to input.

    Args:
        normalise: The scale wanted.
        mean: Mean of the training pixels in [0, 1], one value per channel.
        std: Their standard deviation.
        white: Value of a white pixel.
    """
    if normalise == "standard":
        return [1 / (white * s) for s in std], [-m / s for m, s in zip(mean, std, strict=True)]
    if normalise == "symmetric":
        return [2 / white] * len(mean), [-1.0] * len(mean)
    return [1 / white] * len(mean), [0.0] * len(mean)


def _tensors(
    arrays: Mapping[str, npt.NDArray[Any]], split: str, rows: npt.NDArray[np.int64] | None
) -> tuple[Tensor, Tensor]:
    """Images and labels of some rows of a split, as tensors of their own."""
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if rows is not None:
        images, labels = images[rows], labels[rows]
    # a copy where the array is a view of a read-only file buffer
    return torch.from_numpy(np.require(images, requirements=["C", "W"])), torch.from_numpy(
        labels.astype(np.int64)
    )


def _digest(
    name: str, parts: Mapping[str, str], train: npt.NDArray[np.int64], val: npt.NDArray[np.int64]
) -> str:
    """sha256 over content and split: equal exactly if the same images are used alike."""
    rows = {
        k: hashlib.sha256(np.ascontiguousarray(v, "<i8").tobytes()).hexdigest()
        for k, v in (("train", train), ("val", val))
    }
    return hashlib.sha256(json.dumps([name, dict(sorted(parts.items())), rows]).encode()).hexdigest()
