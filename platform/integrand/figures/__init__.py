"""Figures of one run, each with a description in words."""

from __future__ import annotations

from .confusion import confusion_figure
from .curves import loss_figure, nfe_figure
from .drawing import Picture
from .generated import generated_figures
from .regression import regression_figure
from .steps import step_figure
from .trajectories import trajectory_figure

__all__ = [
    "Picture",
    "confusion_figure",
    "generated_figures",
    "loss_figure",
    "nfe_figure",
    "regression_figure",
    "step_figure",
    "trajectory_figure",
]
