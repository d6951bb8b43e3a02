"""Two sets of inputs by one score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .drawing import Picture, finish, new_axes, slug
from .palette import COLOURS

_BINS = 40


def detection_figure(
    known: npt.NDArray[np.floating],
    other: npt.NDArray[np.floating],
    score: str,
    names: tuple[str, str],
    auroc: float,
) -> Picture:
    """Histograms of a score over the known and over another set.

    Args:
        known: Scores of the known set, shape (n,), larger where less is known.
        other: Scores of the other set, shape (m,).
        score: Name of the score.
        names: Names of both sets.
        auroc: Area under the receiver operating characteristic.
    """
    figure, axes = new_axes()
    both = np.concatenate([known, other])
    edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-12), _BINS + 1)
    for values, name, colour in zip((known, other), names, COLOURS[:2], strict=True):
        share = np.full(len(values), 1 / len(values))
        axes.hist(values, edges, weights=share, alpha=0.6, color=colour, label=name)
    axes.set_xlabel(score)
    axes.set_ylabel("share of the set")
    axes.legend(frameon=False, fontsize=8)
    description = (
        f"{score} of {len(known)} inputs of {names[0]} (median {np.median(known):.3g}) and {len(other)} of "
        f"{names[1]} (median {np.median(other):.3g}): area under the ROC {auroc:.3g}."
    )
    return finish(figure, f"{slug(score)}_{slug(names[1])}", description)
