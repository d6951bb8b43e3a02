"""Log-signatures of windows of a series: the control of a log-ODE."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from integrand.errors import SpecError

from ..options import require_positive
from .observations import check, fill_linear
from .path import ControlPath

DEPTHS = (1, 2, 3)


def log_signature_control(x: Tensor, window: int, depth: int, t: Tensor | None = None) -> ControlPath:
    """The path whose increment over each window is the log-signature of the series there.

    The log-ODE method: ż = f(z) · logsig over each window, f with one column for every Lyndon word (Morrill,
    Salvi, Kidger, Foster 2021, Neural rough differential equations for long time series). Depth 1 with window
    1 is `linear_control`. Cheap enough to make once for a data set, not in every step.

    Args:
        x: Observations, shape (batch, n, c), NaN where missing, then filled as in `linear_control`.
        window: Steps in a window; the last window takes what is left.
        depth: 1, 2 or 3. Depth 2 knows the area that two channels enclose.
        t: Times, shape (n,) or (batch, n); 0, 1, … where None.

    Returns:
        A linear path with `log_signature_channels(c, depth)` channels and a knot at each end of a window.

    Raises:
        SpecError: Wrong shapes or times, or a depth other than 1, 2 and 3.
        SolverOptionError: The window is not positive.
    """
    require_positive(window=window)
    x, times = check(x, t)
    increments = fill_linear(x, times).diff(dim=1)
    batch, steps, channels = increments.shape
    windows = -(-steps // window)
    # steps that stand still change no signature
    padded = torch.nn.functional.pad(increments, (0, 0, 0, windows * window - steps))
    rises = log_signature(padded.view(batch, windows, window, channels), depth).transpose(0, 1)
    ends = [*range(0, steps, window), steps]
    starts = torch.cat((torch.zeros_like(rises[:1]), rises.cumsum(dim=0)[:-1]))
    return ControlPath(times[..., ends], starts, (rises,))


def log_signature(increments: Tensor, depth: int) -> Tensor:
    """Log-signature of piecewise linear paths, in the coordinates of Lyndon words.

    The signature S of the pieces by Chen's identity, then log S = (S-1) - (S-1)²/2 + (S-1)³/3; its entries
    at Lyndon words determine it (Reizenstein and Graham 2020, The iisignature library).

    Args:
        increments: Increments of the pieces, shape (..., pieces, c).
        depth: 1, 2 or 3.

    Returns:
        Shape (..., `log_signature_channels(c, depth)`): the increments, then the words ij with i < j in
        lexical order, then those of three letters.

    Raises:
        SpecError: A depth other than 1, 2 and 3.
    """
    words = lyndon_words(increments.shape[-1], depth)
    levels = _logarithm(signature(increments, depth))
    parts = [levels[0]]
    for length, (level, entries) in enumerate(zip(levels[1:], words[1:], strict=True), start=2):
        places = torch.tensor(entries, dtype=torch.long, device=level.device).view(-1, length)
        at = (..., *places.unbind(1))
        parts.append(level[at])  # type: ignore[index]  # an ellipsis among tensors
    return torch.cat(parts, dim=-1)


def log_signature_channels(channels: int, depth: int) -> int:
    """Number of coordinates: c, then c (c - 1) / 2, then (c³ - c) / 3.

    Raises:
        SpecError: A depth other than 1, 2 and 3.
    """
    return sum(map(len, lyndon_words(channels, depth)))


def lyndon_words(channels: int, depth: int) -> list[list[tuple[int, ...]]]:
    """The words smaller than all their rotations, one list for every length up to `depth`.

    Raises:
        SpecError: A depth other than 1, 2 and 3.
    """
    if depth not in DEPTHS:
        raise SpecError(
            f"log-signatures have depth 1, 2 or 3 here, not {depth}", "shorten the window instead"
        )
    return [
        [
            word
            for word in itertools.product(range(channels), repeat=length)
            if all(word < word[k:] + word[:k] for k in range(1, length))
        ]
        for length in range(1, depth + 1)
    ]


def signature(increments: Tensor, depth: int) -> list[Tensor]:
    """Levels 1 to depth of the signature; every piece enters by Chen's identity with exp of its increment.

    Args:
        increments: Increments of the pieces, shape (..., pieces, c).
        depth: 1, 2 or 3.

    Returns:
        Level k of shape (..., c, …, c), k times c.
    """
    d = increments
    levels = [d.sum(dim=-2)]
    if depth == 1:
        return levels
    x = d.cumsum(dim=-2) - d  # the path at the start of each piece
    outer = torch.einsum("...i,...j->...ij", x + d / 2, d)
    levels.append(outer.sum(dim=-3))
    if depth == 3:
        area = outer.cumsum(dim=-3) - outer
        third = torch.einsum("...pij,...pk->...ijk", area, d)
        third = third + torch.einsum("...pi,...pj,...pk->...ijk", x / 2 + d / 6, d, d)
        levels.append(third)
    return levels


def _logarithm(s: list[Tensor]) -> list[Tensor]:
    levels = [s[0]]
    if len(s) > 1:
        square = torch.einsum("...i,...j->...ij", s[0], s[0])
        levels.append(s[1] - square / 2)
    if len(s) > 2:
        mixed = torch.einsum("...i,...jk->...ijk", s[0], s[1]) + torch.einsum(
            "...ij,...k->...ijk", s[1], s[0]
        )
        levels.append(s[2] - mixed / 2 + torch.einsum("...ij,...k->...ijk", square, s[0]) / 3)
    return levels
