"""How a final state of feature maps is read out: the head of the shared bench."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from integrand.errors import UsageError

from ..norm import group_norm

ReadOut = Literal["batch", "group", "none", "pooled_batch", "pooled_layer", "pixels"]
"""Norm of the head and where it stands.

`batch`, `group`, `none`: that norm, ReLU, mean over space, linear. `pooled_batch`, `pooled_layer`: group
norm, ReLU, mean over space, that norm, linear. `pixels`: group norm, ReLU, linear on all pixels.
"""


class Head(nn.Sequential):
    """Final state to outputs: norm, ReLU, mean over space, norm, linear.

    One group norm over channels and space divides by a spread that is mostly that of the pixels, so that
    the means over space, which alone reach the linear layer, hardly differ between inputs. Batch norm of
    the means brings their differences to size one. Unlike a field, the head is evaluated once per pass, so
    batch statistics move once per batch.

    Args:
        channels: Channels of the final state.
        outputs: Numbers that the network says.
        read_out: Which norm and where; see `ReadOut`.
        pixels: Pixels of the final state; only `pixels` asks.

    Raises:
        UsageError: The read-out is unknown.
    """

    def __init__(
        self, channels: int, outputs: int, read_out: ReadOut = "pooled_batch", pixels: int = 1
    ) -> None:
        if read_out not in get_args(ReadOut):
            raise UsageError(
                f"unknown read-out {read_out!r}", f"set model.head to one of {', '.join(get_args(ReadOut))}"
            )
        layers: list[nn.Module] = [_first_norm(read_out, channels), nn.ReLU()]
        if read_out != "pixels":
            layers.append(nn.AdaptiveAvgPool2d(1))
            pixels = 1
        layers.append(nn.Flatten())
        if read_out == "pooled_batch":
            layers.append(nn.BatchNorm1d(channels))
        elif read_out == "pooled_layer":
            layers.append(nn.LayerNorm(channels))
        super().__init__(*layers, nn.Linear(channels * pixels, outputs))
        self.read_out = read_out

    def forward(self, h: Tensor) -> Tensor:
        """From (batch, channels, height, width) to (batch, outputs).

        Raises:
            UsageError: Batch statistics of a single number per channel in training mode.
        """
        norm = next((m for m in self if isinstance(m, _BatchNorm)), None)
        if self.training and norm is not None:
            values = h.shape[0] * (h[0, 0].numel() if isinstance(norm, nn.BatchNorm2d) else 1)
            if values < 2:
                raise UsageError(
                    f"the head's batch norm cannot be trained on {tuple(h.shape)}: one number per channel",
                    "train on larger batches (data.drop_last where the last one is left with a single "
                    "sample), or set model.head to batch or group",
                )
        for layer in self:
            h = layer(h)
        return h


def _first_norm(read_out: ReadOut, channels: int) -> nn.Module:
    if read_out == "batch":
        return nn.BatchNorm2d(channels)
    return nn.Identity() if read_out == "none" else group_norm(channels)
