"""The autoencoder of diffusers' latent models as an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from torch import Tensor

from integrand.diffusion.pretrained.library import require_diffusers
from integrand.errors import UsageError
from integrand.metrics.classifier import digest_of

from .base import ImageEncoder


class DiffusersVAE(ImageEncoder):
    """The latents of diffusers' `AutoencoderKL`, scaled as its config says; for images in [−1, 1].

    Args:
        path: Folder that `save_pretrained` wrote, of the autoencoder or of a pipeline that has one as `vae`.

    Raises:
        UsageError: diffusers is not installed, or there is no such autoencoder.
    """

    def __init__(self, path: str) -> None:
        library = require_diffusers()
        folder = Path(path)
        folder = folder / "vae" if (folder / "vae").is_dir() else folder
        if not (folder / "config.json").is_file():
            raise UsageError(f"{path} holds no autoencoder", "name a folder that save_pretrained wrote")
        kind = library.AutoencoderKL.load_config(folder).get("_class_name")
        if kind != "AutoencoderKL":
            raise UsageError(f"{path} holds {kind}", "name a folder of an AutoencoderKL")
        try:
            net = library.AutoencoderKL.from_pretrained(folder)
        except (OSError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"{path}: {' '.join(str(error).split())[:200]}", "write it again by save_pretrained"
            ) from error
        config: Any = net.config
        if config.get("latents_mean") is not None or config.get("latents_std") is not None:
            raise UsageError(f"{path} scales each channel by itself", "take one with one scaling_factor")
        super().__init__(
            net,
            digest_of(net),
            (config.in_channels, config.latent_channels),
            len(config.block_out_channels) - 1,
            config.scaling_factor,
            config.shift_factor or 0.0,
        )

    def mean(self, x: Tensor) -> Tensor:
        """See `ImageEncoder.mean`."""
        net: Any = self.net
        return cast(Tensor, net.encode(x).latent_dist.mode())

    def image(self, z: Tensor) -> Tensor:
        """See `ImageEncoder.image`."""
        net: Any = self.net
        return cast(Tensor, net.decode(z).sample)
