"""What is known of the rest of a series, at each of its observations: a network that reads backwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from integrand.series import Series


class BackwardReader(nn.Module):
    """A GRU over what was observed, from the last observation to the first.

    Times at which nothing was observed are passed over, and so is padding: neither changes what is known
    elsewhere.

    Args:
        channels: Values of one observation.
        static: Numbers that are known of a series as a whole.
        size: Length of what is known.
        unit: Unit of the gaps between observations.
    """

    def __init__(self, channels: int, static: int, size: int, unit: float) -> None:
        super().__init__()
        self.unit = unit
        self.cell = nn.GRU(2 * channels + 1 + static, size, batch_first=True)

    def forward(self, x: Series) -> tuple[Tensor, Tensor]:
        """What is known of the observations from number i on, shape (batch, n, size), 0 where there are none.

        Returns:
            That, and how many these are, shape (batch, n), int64.
        """
        seen = x.mask.any(dim=-1)
        ahead = seen.flip(1).cumsum(dim=1).flip(1)
        # what was observed comes first, the last of it before all
        order = (~seen.flip(1)).to(torch.int8).argsort(dim=1, stable=True)
        places = seen.shape[1] - 1 - order
        wide = places.unsqueeze(-1).expand_as(x.values)
        times = x.times.gather(1, places)
        gaps = -times.diff(dim=1, prepend=times[:, :1]).unsqueeze(-1).to(x.values) / self.unit
        parts = [x.values.gather(1, wide), x.mask.gather(1, wide).to(x.values), gaps]
        parts.append(x.static.unsqueeze(1).expand(-1, seen.shape[1], -1))
        states = self.cell(torch.cat(parts, dim=-1))[0]
        known = torch.cat((torch.zeros_like(states[:, :1]), states), dim=1)
        # whole rows: the gradient of a gather of single numbers takes twice the time
        rows = ahead + known.shape[1] * torch.arange(len(known), device=ahead.device).unsqueeze(1)
        return known.flatten(0, 1).index_select(0, rows.flatten()).view_as(states), ahead
