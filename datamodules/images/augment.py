"""Augmentation of whole batches, with every random number drawn per image and epoch in advance.

An augmentation first draws one row of integers for each image of an epoch and later applies the rows of a
batch. What happens to an image thus depends on seed, epoch and image alone: not on the batch size, the order,
the number of processes, the device, or any global random state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from integrand.errors import UsageError

_SCALE = 1 << 16  # resolution of a probability drawn as an integer


class Augmentation(ABC):
    """A random change of images that keeps their shape and class."""

    @abstractmethod
    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw for `n` images.

        Args:
            n: Number of images.
            size: Height and width in pixels.
            generator: Source of the random numbers, on the CPU.

        Returns:
            One row per image, shape (n, k), int64, on the CPU.
        """

    @abstractmethod
    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Change a batch.

        Args:
            images: Shape (B, C, H, W), uint8.
            drawn: Rows of `draw` for these images, shape (B, k), on the device of the images.

        Returns:
            Shape (B, C, H, W), uint8; the argument may be overwritten.
        """


class RandomCrop(Augmentation):
    """Shift each image by up to `padding` pixels either way (Krizhevsky, 2009; He et al., 2016, section 4.2).

    Args:
        padding: Largest shift, in pixels.
        fill: What comes in at the border: black, or the image mirrored.
    """

    def __init__(self, padding: int = 4, fill: Literal["black", "mirror"] = "black") -> None:
        if padding < 1:
            raise UsageError(f"RandomCrop: padding={padding} shifts nothing", "give at least 1 pixel")
        self.padding = padding
        self.fill = fill

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Top and left edge of each window, 0…2·padding."""
        if self.fill == "mirror" and self.padding >= min(size):
            raise UsageError(
                f"RandomCrop: padding={self.padding} mirrors more than {size} pixels", "give less padding"
            )
        return torch.randint(0, 2 * self.padding + 1, (n, 2), generator=generator)

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Pad the batch, then copy one window of each image."""
        height, width = images.shape[-2:]
        if self.fill == "mirror":
            # torch has no reflecting pad for bytes
            mirrored = images.index_select(2, self._mirror(height, images.device))
            padded = mirrored.index_select(3, self._mirror(width, images.device))
        else:
            padded = F.pad(images, (self.padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (B, C, 2p+1, 2p+1, H, W)
        rows = torch.arange(len(images), device=images.device)
        return windows[rows, :, drawn[:, 0], drawn[:, 1]]

    def _mirror(self, length: int, device: torch.device) -> Tensor:
        """Index of the pixel at each place of the padded line: p…1, 0…length-1, length-2…length-1-p."""
        place = torch.arange(-self.padding, length + self.padding, device=device).abs()
        return torch.minimum(place, 2 * (length - 1) - place)


class HorizontalFlip(Augmentation):
    """Mirror each image left to right with a given probability.

    Args:
        p: Probability, 0…1.
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0 <= p <= 1:
            raise UsageError(f"HorizontalFlip: p={p} is no probability", "give a number from 0 to 1")
        self.p = p

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """1 where the image is mirrored."""
        return (torch.randint(0, _SCALE, (n, 1), generator=generator) < round(self.p * _SCALE)).long()

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Choose between each image and its mirror image."""
        return torch.where(drawn[:, :, None, None].bool(), images.flip(-1), images)


class Cutout(Augmentation):
    """Black out a square whose centre is anywhere in the image (DeVries and Taylor, 2017, arXiv:1708.04552).

    Args:
        size: Side of the square, in pixels; less of it remains at the border.
    """

    def __init__(self, size: int = 8) -> None:
        if size < 1:
            raise UsageError(f"Cutout: size={size} hides nothing", "give at least 1 pixel")
        self.size = size

    def draw(self, n: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Row and column of each square's centre."""
        return torch.stack([torch.randint(0, side, (n,), generator=generator) for side in size], dim=1)

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Set the pixels inside the square to 0."""
        first = drawn - self.size // 2

        def inside(axis: int, length: int) -> Tensor:
            at = torch.arange(length, device=images.device) - first[:, axis, None]
            return (at >= 0) & (at < self.size)

        height, width = images.shape[-2:]
        hidden = inside(0, height)[:, None, :, None] & inside(1, width)[:, None, None, :]
        return images.masked_fill_(hidden, 0)
