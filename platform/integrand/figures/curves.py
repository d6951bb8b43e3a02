"""Loss and NFE over training."""

from __future__ import annotations

import math

from .drawing import Picture, finish, new_axes
from .palette import COLOURS
from .ranges import STEEP, is_wide

Point = list[float]
"""Step, epoch, seconds since the start, and the value."""
Series = dict[str, list[Point]]


def loss_figure(series: Series) -> Picture | None:
    """Loss against step: single steps faint, epochs of training and validation bold."""
    figure, axes = new_axes()
    shown = []
    steps = _clean(series.get("train/loss_step", []))
    if len(steps) > 1:
        axes.plot(*_columns(steps), color=COLOURS[0], alpha=0.3, linewidth=0.8, label="train, single steps")
    for name, colour, marker in (("train/loss", COLOURS[0], "o"), ("val/loss", COLOURS[1], "s")):
        points = _clean(series.get(name, []))
        if points:
            axes.plot(*_columns(points), color=colour, marker=marker, markersize=3, label=name)
            shown.append(f"{name} goes from {points[0][3]:.4g} to {points[-1][3]:.4g}")
    if not shown and len(steps) < 2:
        return None
    values = [
        p[3] for name in ("train/loss", "val/loss", "train/loss_step") for p in _clean(series.get(name, []))
    ]
    if min(values) > 0 and is_wide(values, STEEP):
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend(frameon=False, fontsize=8)
    return finish(
        figure, "loss", "Loss against training step: " + ("; ".join(shown) or "single steps only") + "."
    )


def nfe_figure(series: Series) -> Picture | None:
    """Evaluations of the field per batch against step, forward and backward."""
    figure, axes = new_axes()
    shown = []
    curves = (
        ("solver/nfe_forward", "forward", COLOURS[0], "o"),
        ("solver/nfe_backward", "backward", COLOURS[1], "s"),
        ("solver/val_nfe_forward", "forward, validation", COLOURS[2], "^"),
    )
    for name, label, colour, marker in curves:
        points = _clean(series.get(name, []))
        if points and any(p[3] for p in points):
            axes.plot(*_columns(points), color=colour, marker=marker, markersize=3, label=label)
            shown.append(f"{label} from {points[0][3]:.4g} to {points[-1][3]:.4g}")
    if not shown:
        return None
    # room above the highest point, and zero as the floor: a relative change should look like one
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step")
    axes.set_ylabel("evaluations per batch")
    axes.legend(frameon=False, fontsize=8)
    return finish(figure, "nfe", "Number of function evaluations (NFE) per batch: " + "; ".join(shown) + ".")


def _clean(points: list[Point]) -> list[Point]:
    return [p for p in points if math.isfinite(p[3])]


def _columns(points: list[Point]) -> tuple[list[float], list[float]]:
    return [p[0] for p in points], [p[3] for p in points]
