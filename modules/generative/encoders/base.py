"""The contract of encoders, and how a checkpoint remembers which one its weights were learned with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from integrand.errors import UsageError
from integrand.spec import ImageSpec, Spec


class Encoder(ABC):
    """A map of data to latents and back that is never trained along with what models the latents."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Of its weights and scale: models of its latents mean nothing with another one."""

    @abstractmethod
    def latents(self, spec: Spec) -> Spec:
        """What the latents of a data set are.

        Raises:
            UsageError: It cannot encode such data.
        """

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Latents of data, of about unit variance, shape (batch, …), without a gradient."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """The data of latents, without a gradient."""


class ImageEncoder(Encoder):
    """Images behind an autoencoder: z = (mean of the posterior − shift) · scale (Rombach et al. 2022).

    Args:
        net: The autoencoder.
        digest: Of its weights.
        channels: Channels of an image, and of a latent.
        halvings: How often height and width are halved.
        scale: One over the standard deviation of the latents.
        shift: Their mean.
    """

    def __init__(
        self,
        net: nn.Module,
        digest: str,
        channels: tuple[int, int],
        halvings: int,
        scale: float,
        shift: float = 0.0,
    ) -> None:
        self.net = net.eval().requires_grad_(False)
        self.channels, self.halvings, self.scale, self.shift = channels, halvings, scale, shift
        self._digest = f"{digest}/{scale:.6g}/{shift:.6g}"

    @abstractmethod
    def mean(self, x: Tensor) -> Tensor:
        """The mean of the posterior."""

    @abstractmethod
    def image(self, z: Tensor) -> Tensor:
        """The decoder."""

    @property
    def digest(self) -> str:
        """See `Encoder.digest`: the weights', scale and shift."""
        return self._digest

    def latents(self, spec: Spec) -> Spec:
        """See `Encoder.latents`; the grey levels of the images are gone."""
        shape, factor = spec.input_shape, 2**self.halvings
        if not isinstance(spec, ImageSpec):
            raise UsageError(
                f"the encoder takes images, and {spec.name} holds {spec.kind}s", "leave out model.encoder"
            )
        if shape[0] != self.channels[0] or shape[1] % factor or shape[2] % factor:
            raise UsageError(
                f"the encoder takes {self.channels[0]} channels of pixels in multiples of {factor}, and "
                f"{spec.name} has {shape[0]}×{shape[1]}×{shape[2]}",
                "train an autoencoder on this data set: integrand fit --model Autoencoder",
            )
        size = (self.channels[1], shape[1] // factor, shape[2] // factor)
        return ImageSpec(f"latents of {spec.name}", spec.question, size)

    def images(self, latents: tuple[int, ...]) -> tuple[int, int, int]:
        """Shape of the images whose latents have a shape.

        Raises:
            UsageError: These are latents of another encoder.
        """
        if len(latents) != 3 or latents[0] != self.channels[1]:
            raise UsageError(
                f"the autoencoder's latents have {self.channels[1]} channels, and the model's samples "
                f"{latents[0]}",
                "take the autoencoder that the model was trained with",
            )
        factor = 2**self.halvings
        return self.channels[0], latents[1] * factor, latents[2] * factor

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """See `Encoder.encode`."""
        return ((self.mean(self._suited(x)) - self.shift) * self.scale).to(x.dtype)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """See `Encoder.decode`."""
        return self.image(self._suited(z) / self.scale + self.shift).to(z.dtype)

    def _suited(self, x: Tensor) -> Tensor:
        """A tensor in the dtype of the weights, which follow it to its device."""
        weight = next(self.net.parameters())
        if weight.device != x.device:
            self.net.to(x.device)
        return x.to(weight.dtype)


class EncoderDigest(nn.Module):
    """The digest of an encoder as part of the state of a model of its latents.

    Args:
        digest: The encoder's.
    """

    def __init__(self, digest: str) -> None:
        super().__init__()
        self.digest = digest

    def get_extra_state(self) -> Tensor:
        """The digest's bytes: checkpoints hold tensors."""
        return torch.tensor(list(self.digest.encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Compare with the digest of the weights that are loaded.

        Raises:
            UsageError: They were learned in the latents of another encoder.
        """
        require_same_encoder(bytes(state.tolist()).decode(), self.digest, "the weights")


STATE = "encoder_digest._extra_state"
"""Under which name the state dict of a model of latents holds the digest."""


def digest_of_encoder(encoder: Encoder | None) -> str:
    """The digest of an encoder; empty where data are modelled as they are."""
    return "" if encoder is None else encoder.digest


def encoder_of(state: Mapping[str, Tensor]) -> str:
    """The digest of the encoder whose latents a state dict models; empty where it models data."""
    return bytes(state[STATE].tolist()).decode() if STATE in state else ""


def require_same_encoder(theirs: str, own: str, who: str) -> None:
    """Refuse a model of other latents.

    Args:
        theirs: Digest of the encoder it was trained with, empty for none.
        own: Digest of the encoder here, empty for none.
        who: What was trained with it, for the message.

    Raises:
        UsageError: The two differ.
    """
    if theirs != own:
        raise UsageError(
            f"{who} came from training with encoder {theirs or 'none'}, and model.encoder is {own or 'none'}",
            "set model.encoder to the one it was trained with",
        )
