"""A small classifier in whose features images are compared: trained by recipe, frozen, named by digest."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F

# few epochs: a classifier that has learnt its images by heart tells them from other real ones
_EPOCHS, _STEPS, _BATCH, _RATE = 8, 1500, 64, 2e-3
_RECIPE = ("3 convolutions 16-32-64, 64 features, Adam, cosine", _EPOCHS, _STEPS, _BATCH, _RATE)
"""What the weights follow from besides data and seed; part of the name in the cache."""


class FeatureNet(nn.Module):
    """Three convolutions and two linear layers; the first of these gives the features.

    Args:
        shape: Shape of an image, (channels, height, width).
        num_classes: Number of classes.
    """

    num_features: int = 64
    """Length of a feature vector; torchmetrics reads it."""

    def __init__(self, shape: Sequence[int], num_classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.layers = nn.Sequential(
            *(nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()),
            nn.Flatten(),
            nn.Linear(64 * -(-height // 4) * -(-width // 4), self.num_features),
        )
        self.head = nn.Linear(self.num_features, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Features, shape (batch, 64), of images in [0, 1]."""
        features: Tensor = self.layers(2 * x - 1)
        return features

    def classify(self, x: Tensor) -> Tensor:
        """Logits, shape (batch, classes)."""
        logits: Tensor = self.head(F.relu(self(x)))
        return logits


@dataclass(frozen=True)
class Extractor:
    """A frozen classifier.

    Args:
        net: The classifier, in evaluation mode, on the CPU.
        digest: First eight hexadecimal digits of the sha256 of its weights.
        accuracy: Share of its training images that it classifies rightly.
    """

    net: FeatureNet
    digest: str
    accuracy: float

    @torch.no_grad()
    def features(self, images: Tensor, batch_size: int = 1000) -> Tensor:
        """Features of images in [0, 1], shape (n, 64), on the CPU."""
        parts = [self.net(part) for part in torch.split(images.detach().float().cpu(), batch_size)]
        return torch.cat(parts) if parts else torch.empty(0, self.net.num_features)


def extractor(images: Tensor, labels: Tensor, num_classes: int, folder: Path, seed: int = 0) -> Extractor:
    """The classifier of these images, from the cache or trained now, which takes up to a minute of one core.

    On one machine the same images and seed give the same weights. Another processor may round differently
    and so get weights of another digest; scores of different digests are not comparable.

    Args:
        images: Shape (n, channels, height, width), uint8.
        labels: Shape (n,), int64.
        num_classes: Number of classes.
        folder: Where it is kept.
        seed: Seed of weights and order.
    """
    images, labels = images.cpu(), labels.cpu()
    key = hashlib.sha256(json.dumps([_RECIPE, list(images.shape), num_classes, seed]).encode())
    key.update(images.numpy().tobytes())
    key.update(labels.numpy().tobytes())
    path = folder / f"{key.hexdigest()[:16]}.pt"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{path.name}.lock"):
        found = _read(path, images, num_classes)
        if found is None:
            found = _train(images, labels, num_classes, seed)
            _write(path, found)
    return found


def digest_of(net: nn.Module) -> str:
    """First eight hexadecimal digits of the sha256 of a network's weights and their names."""
    total = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        total.update(name.encode())
        total.update(value.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:8]


def _train(images: Tensor, labels: Tensor, num_classes: int, seed: int) -> Extractor:
    with _alone(seed):
        net = FeatureNet(images.shape[1:], num_classes)
        optimizer = torch.optim.Adam(net.parameters(), lr=_RATE)
        steps = min(_STEPS, -(-_EPOCHS * len(images) // _BATCH))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        white = float(images.max())
        for _ in range(steps):
            rows = torch.randint(len(images), (_BATCH,))
            loss = F.cross_entropy(net.classify(images[rows].float() / white), labels[rows])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
        net.eval().requires_grad_(False)
        shown = slice(0, 5000)
        right = net.classify(images[shown].float() / white).argmax(1) == labels[shown]
    return Extractor(net, digest_of(net), float(right.double().mean()))


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """One thread and a seed of its own, so that neither the machine's cores nor earlier draws count."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng([]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _read(path: Path, images: Tensor, num_classes: int) -> Extractor | None:
    """The cached extractor; None where there is none or the file is damaged."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
        net = FeatureNet(images.shape[1:], num_classes)
        net.load_state_dict(held["weights"])
        whole = digest_of(net) == held["digest"]
    except Exception:  # torch.load raises a dozen kinds for a damaged file
        return None
    return Extractor(net.eval().requires_grad_(False), held["digest"], held["accuracy"]) if whole else None


def _write(path: Path, found: Extractor) -> None:
    """Written under another name and renamed, so that nobody reads half a file."""
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    os.close(handle)
    held = {"weights": found.net.state_dict(), "digest": found.digest, "accuracy": found.accuracy}
    torch.save(held, part)
    Path(part).replace(path)
