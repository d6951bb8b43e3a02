"""A KL-regularised convolutional autoencoder: the first stage of latent diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.spec import ImageSpec, Spec

from ..bench.net import check_inputs
from ..family import FamilyModule
from .backbones.base import check_sizes


class Autoencoder(FamilyModule):
    """Images as latents of fewer pixels, whose distribution generative families learn (`model.encoder`).

    The encoder gives a Gaussian for each image, q(z | x) = N(μ, s²); the decoder returns the image from a
    draw of it. A small `beta` only keeps the latents from spreading without bound. Each validation measures
    mean and spread of μ over the validation images, by which encoders scale them to unit variance.

    Args:
        spec: What the data set publishes; the command line fills it in.
        channels: Channels at full resolution.
        multipliers: Channels of each level as a multiple of that; each level after the first halves height
            and width.
        latent_channels: Channels of a latent.
        blocks: Residual blocks in each level.
        groups: Groups of the norms; a divisor of the channels.
        beta: Weight β of the divergence beside the squared error, both summed over an image.
        **kwargs: See `FamilyModule`.

    Raises:
        UsageError: The sizes make no network, or β is negative.
    """

    family = "autoencoder"
    title = "Autoencoder for latent models"
    group = "generative"
    models = "distribution"
    takes: ClassVar[tuple[type[Spec], ...]] = (ImageSpec,)
    equation = "z ~ N(μ(x), s(x)²), min E‖x − D(z)‖² + β KL(N(μ, s²) ‖ N(0, I))"
    reference = (
        "Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models; Kingma & Welling "
        "2014, Auto-Encoding Variational Bayes"
    )
    stochastic = True

    def __init__(
        self,
        spec: Spec,
        channels: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        latent_channels: int = 4,
        blocks: int = 1,
        groups: int = 8,
        beta: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        super().__init__(spec, **kwargs)
        if not beta >= 0:
            raise UsageError(f"beta must be 0 or more, got {beta}", "set model.beta to 1e-6")
        self.beta, self.shape = beta, spec.input_shape
        self.net = AutoencoderNet(self.shape, channels, multipliers, latent_channels, blocks, groups)
        self.register_buffer("latent_scale", torch.zeros(()))
        self.register_buffer("latent_shift", torch.zeros(()))
        self.latent_scale: Tensor
        self.latent_shift: Tensor
        self._moments = (0.0, 0.0, 0.0)
        self._pair: tuple[Tensor, Tensor] | None = None

    def step(self, batch: Any, stage: str) -> Outcome:
        """Squared error of the image that a draw gives back, and the divergence, per dimension of the image.

        In evaluation the draw is the mean.
        """
        x = batch[0] if isinstance(batch, list | tuple) else batch
        check_inputs(x, self.spec)
        mean, log_std = self.net.posterior(x)
        z = mean + log_std.exp() * torch.randn_like(mean) if stage == "train" else mean
        back = self.net.decode(z)
        error = (back - x).square().mean()
        divergence = kl(mean, log_std).mean()
        if stage != "train":
            self._keep(x, back, mean)
        loss = error + self.beta * divergence / x[0].numel()
        return Outcome(
            {"loss": loss},
            len(x),
            {"mse": error.detach(), "kl": divergence.detach()},
            inputs=x.detach(),
        )

    def _keep(self, x: Tensor, back: Tensor, mean: Tensor) -> None:
        wide = mean.detach().cpu().double()
        n, first, second = self._moments
        self._moments = (
            n + wide.numel(),
            first + float(wide.sum()),
            second + float(wide.square().sum()),
        )
        if self._pair is None:
            self._pair = x.detach()[:64], back.detach()[:64]

    def on_validation_epoch_start(self) -> None:
        """Begin to measure the latents."""
        self._moments, self._pair = (0.0, 0.0, 0.0), None

    def on_test_epoch_start(self) -> None:
        """Keep images of the test, not of a validation before."""
        self._pair = None

    def on_validation_epoch_end(self) -> None:
        """Know mean and spread of the latents of the validation images."""
        moments = self._moments
        if self.trainer.world_size > 1:
            total = torch.tensor(moments, dtype=torch.float64, device=self.device)
            dist.all_reduce(total)
            moments = tuple(total.tolist())
        n, first, second = moments
        if n:
            spread = max(second / n - (first / n) ** 2, 0.0) ** 0.5
            self.latent_shift.fill_(first / n)
            self.latent_scale.fill_(1 / spread if spread else 0.0)

    def pictures(self, stage: str) -> dict[str, npt.NDArray[np.floating]]:
        """Images as `data`, and beside them as `samples` what is left of them."""
        if self._pair is None:
            return {}
        return {n: v.float().cpu().numpy() for n, v in zip(("data", "samples"), self._pair, strict=True)}

    def shards(self) -> list[nn.Module]:
        """None.

        Raises:
            UsageError: Always.
        """
        raise self.unshardable("it is small, and encoder and decoder are called apart")


def kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(N(μ, s²) ‖ N(0, I)) of each sample in nats, shape (batch,) (Kingma & Welling 2014, App. B)."""
    terms = mean.square() + (2 * log_std).exp() - 1 - 2 * log_std
    return terms.flatten(1).sum(dim=1) / 2


class AutoencoderNet(nn.Module):
    """Encoder and decoder.

    Args:
        shape: (channels, height, width) of an image.
        channels: Channels at full resolution.
        multipliers: Channels of each level as a multiple of that.
        latent_channels: Channels of a latent.
        blocks: Residual blocks in each level.
        groups: Groups of the norms.

    Raises:
        UsageError: They make no network for such images.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: int,
        multipliers: Sequence[int],
        latent_channels: int,
        blocks: int,
        groups: int,
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, latent_channels=latent_channels, blocks=blocks, groups=groups)
        if not multipliers or min(multipliers) < 1 or channels % groups:
            raise UsageError(
                f"{channels} channels × {list(multipliers)} in {groups} groups make no network",
                "such as model.channels 32, model.multipliers [1, 2, 2], model.groups 8",
            )
        self.latent_channels, self.halvings = latent_channels, len(multipliers) - 1
        if shape[1] % 2**self.halvings or shape[2] % 2**self.halvings:
            raise UsageError(
                f"{shape[1]}×{shape[2]} pixels cannot be halved {self.halvings} times",
                "set model.multipliers to fewer levels",
            )
        widths = [channels * m for m in multipliers]
        down: list[nn.Module] = [nn.Conv2d(shape[0], widths[0], 3, padding=1)]
        up: list[nn.Module] = [nn.Conv2d(latent_channels, widths[-1], 3, padding=1)]
        for level, (before, width) in enumerate(pairwise([widths[0], *widths])):
            if level:
                down.append(nn.Conv2d(before, before, 3, stride=2, padding=1))
            down += [_Block(before if k == 0 else width, width, groups) for k in range(blocks)]
        for level, (before, width) in enumerate(pairwise([widths[-1], *reversed(widths)])):
            if level:
                up += [nn.Upsample(scale_factor=2.0), nn.Conv2d(before, before, 3, padding=1)]
            up += [_Block(before if k == 0 else width, width, groups) for k in range(blocks)]
        down += [nn.GroupNorm(groups, widths[-1]), nn.SiLU()]
        up += [nn.GroupNorm(groups, widths[0]), nn.SiLU()]
        self.encoder = nn.Sequential(*down, nn.Conv2d(widths[-1], 2 * latent_channels, 3, padding=1))
        self.decoder = nn.Sequential(*up, nn.Conv2d(widths[0], shape[0], 3, padding=1))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the standard deviation of the latents of images, within e^±10."""
        mean, log_std = self.encoder(x).chunk(2, dim=1)
        return mean, log_std.clamp(-10, 10)

    def decode(self, z: Tensor) -> Tensor:
        """Images of latents."""
        image: Tensor = self.decoder(z)
        return image


class _Block(nn.Module):
    """Norm–SiLU–conv twice around a skip.

    Args:
        width: Channels in.
        to: Channels out.
        groups: Groups of the norms.
    """

    def __init__(self, width: int, to: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, width), nn.GroupNorm(groups, to)
        self.conv1, self.conv2 = nn.Conv2d(width, to, 3, padding=1), nn.Conv2d(to, to, 3, padding=1)
        self.skip = nn.Identity() if width == to else nn.Conv2d(width, to, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (batch, to, height, width)."""
        h = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        result: Tensor = self.skip(x) + h
        return result
