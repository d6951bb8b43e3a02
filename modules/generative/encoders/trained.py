"""An autoencoder that was trained here, as an encoder."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from integrand.errors import UsageError
from integrand.metrics.classifier import digest_of

from ..autoencoder import Autoencoder, AutoencoderNet
from .base import ImageEncoder


class TrainedAutoencoder(ImageEncoder):
    """The latents of a run of `Autoencoder`, of unit variance on its validation data.

    Args:
        path: Checkpoint of the run.

    Raises:
        UsageError: It is no checkpoint of an autoencoder, or of one that was never validated.
    """

    def __init__(self, path: str) -> None:
        found: Autoencoder = Autoencoder.load_from_checkpoint(path)
        scale, shift = float(found.latent_scale), float(found.latent_shift)
        if not scale > 0:
            raise UsageError(
                f"{path} was never validated, so that the spread of its latents is not known",
                "train the autoencoder with validation",
            )
        net = found.net
        super().__init__(
            net, digest_of(net), (found.shape[0], net.latent_channels), net.halvings, scale, shift
        )

    def mean(self, x: Tensor) -> Tensor:
        """See `ImageEncoder.mean`."""
        return cast(AutoencoderNet, self.net).posterior(x)[0]

    def image(self, z: Tensor) -> Tensor:
        """See `ImageEncoder.image`."""
        return cast(AutoencoderNet, self.net).decode(z)
