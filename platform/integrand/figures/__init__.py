"""Figures of one run, each with a description in words."""

from __future__ import annotations

from .confusion import confusion_figure
from .curves import loss_figure, nfe_figure
from .drawing import Picture
from .events import intensity_figure, rescaling_figure
from .forecasts import energy_figure, forecast_figure, horizon_figure, phase_figure
from .generated import generated_figures
from .paths import paths_figure
from .regression import regression_figure
from .steps import step_figure
from .trajectories import trajectory_figure

__all__ = [
    "Picture",
    "confusion_figure",
    "energy_figure",
    "forecast_figure",
    "generated_figures",
    "horizon_figure",
    "intensity_figure",
    "loss_figure",
    "nfe_figure",
    "paths_figure",
    "phase_figure",
    "regression_figure",
    "rescaling_figure",
    "step_figure",
    "trajectory_figure",
]
