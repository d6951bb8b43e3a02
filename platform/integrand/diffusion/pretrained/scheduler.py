"""What a scheduler's config says of a model: its process, what it predicts, what is done to the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from integrand.errors import UsageError

from ..constraints import Clip, DataConstraint, DynamicThreshold
from ..parametrisations import (
    DataPrediction,
    EDMPreconditioning,
    FlowPrediction,
    NoisePrediction,
    Parametrisation,
    VelocityPrediction,
)
from ..processes import EDM, DiscreteVP, LinearFlow, Process
from .library import require_diffusers

_PREDICTIONS: dict[str, Callable[[], Parametrisation]] = {
    "epsilon": NoisePrediction,
    "v_prediction": VelocityPrediction,
    "sample": DataPrediction,
}


@dataclass(frozen=True)
class Reading:
    """A config in the terms of this package.

    Args:
        process: How data became noise.
        parametrisation: What the network predicts.
        constraint: What the scheduler does to the predicted data; None for nothing.
        negated: Whether the network's output has the other sign.
    """

    process: Process
    parametrisation: Parametrisation
    constraint: DataConstraint | None
    negated: bool = False


def read_scheduler(config: dict[str, Any]) -> Reading:
    """Read a config; classes have different defaults, so that the class fills in what the config leaves out.

    Raises:
        UsageError: The scheduler or its prediction is of a kind that has no counterpart here.
    """
    name = str(config.get("_class_name", ""))
    cls = getattr(require_diffusers(), name, None)
    if cls is None:
        raise UsageError(f"diffusers has no scheduler {name!r}", "name one in _class_name")
    made = cls.from_config(config)
    full = made.config
    kind = str(full.get("prediction_type", "epsilon"))
    if name in ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"):
        process = EDM(full["sigma_min"], full["sigma_max"])
        return Reading(process, EDMPreconditioning(full["sigma_data"]), None, kind == "v_prediction")
    if name == "FlowMatchEulerDiscreteScheduler":
        for option in ("use_dynamic_shifting", "invert_sigmas", "stochastic_sampling"):
            if full.get(option):
                raise UsageError(
                    f"{name} with {option} has no counterpart here",
                    "known: a fixed shift or Karras's levels",
                )
        return Reading(LinearFlow(), FlowPrediction(), None)
    if kind not in _PREDICTIONS or not hasattr(made, "alphas_cumprod"):
        raise UsageError(
            f"{name} with prediction_type {kind!r} has no counterpart here",
            "known: schedulers with a table of alphas_cumprod, and EDM's",
        )
    return Reading(_process(made), _PREDICTIONS[kind](), _constraint(full))


def _process(made: Any) -> DiscreteVP:
    """DDPM's steps by the scheduler's own table."""
    kept = torch.as_tensor(made.alphas_cumprod).double()
    betas = 1 - kept / torch.cat((kept.new_ones(1), kept[:-1]))
    if made.config.get("rescale_betas_zero_snr"):
        betas[-1] = 1.0  # some schedulers leave 2^-24 there, to divide by it
    return DiscreteVP(betas.tolist())


def _constraint(config: Any) -> DataConstraint | None:
    if config.get("thresholding"):
        return DynamicThreshold(
            config.get("dynamic_thresholding_ratio", 0.995), config.get("sample_max_value", 1.0)
        )
    return Clip(config.get("clip_sample_range", 1.0)) if config.get("clip_sample") else None
