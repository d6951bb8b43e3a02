"""Diffusion models as differential equations: processes, predictions, time grids and samplers."""

from .constraints import Clip, DataConstraint, DynamicThreshold
from .denoiser import Denoiser, Denoising
from .errors import BudgetError, GridError, GuidanceError, IncompatibleError, NonFiniteSamplesError
from .evaluation import Evaluator
from .exact import ExactMixture
from .grids import (
    DiscreteGrid,
    EDMGrid,
    ExplicitGrid,
    KarrasGrid,
    LogSNRGrid,
    QuadraticGrid,
    TimeGrid,
    UniformGrid,
)
from .noise import Noise, SampleNoise, Stream
from .parametrisations import (
    DataPrediction,
    EDMPreconditioning,
    NoisePrediction,
    Parametrisation,
    ScorePrediction,
    VelocityPrediction,
    convert,
)
from .prediction import Prediction
from .processes import EDM, VE, VP, CosineVP, DiscreteVP, Node, Process, SubVP
from .result import SampleResult
from .samplers import DDIM, Sampler, draw_prior

__all__ = [
    "DDIM",
    "EDM",
    "VE",
    "VP",
    "BudgetError",
    "Clip",
    "CosineVP",
    "DataConstraint",
    "DataPrediction",
    "Denoiser",
    "Denoising",
    "DiscreteGrid",
    "DiscreteVP",
    "DynamicThreshold",
    "EDMGrid",
    "EDMPreconditioning",
    "Evaluator",
    "ExactMixture",
    "ExplicitGrid",
    "GridError",
    "GuidanceError",
    "IncompatibleError",
    "KarrasGrid",
    "LogSNRGrid",
    "Node",
    "Noise",
    "NoisePrediction",
    "NonFiniteSamplesError",
    "Parametrisation",
    "Prediction",
    "Process",
    "QuadraticGrid",
    "SampleNoise",
    "SampleResult",
    "Sampler",
    "ScorePrediction",
    "Stream",
    "SubVP",
    "TimeGrid",
    "UniformGrid",
    "VelocityPrediction",
    "convert",
    "draw_prior",
]
