"""Samplers: one method each, all behind one contract."""

from .ancestral import Ancestral
from .base import Run, Sampler, draw_prior
from .ddim import DDIM
from .deis_ab import DEISAB
from .deis_rk import DEISRK
from .dpm_multistep import DPMSolverMultistep, DPMSolverPPMultistep, DPMSolverSDE
from .dpm_singlestep import DPMSolverPPSinglestep, DPMSolverSinglestep
from .euler_maruyama import EulerMaruyama
from .heun import Heun
from .ipndm import IPNDM
from .plms import PLMS
from .pndm import PNDM
from .predictor_corrector import PredictorCorrector
from .probability_flow import ProbabilityFlow
from .reverse_diffusion import ReverseDiffusion
from .unipc import UniPC

__all__ = [
    "DDIM",
    "DEISAB",
    "DEISRK",
    "IPNDM",
    "PLMS",
    "PNDM",
    "Ancestral",
    "DPMSolverMultistep",
    "DPMSolverPPMultistep",
    "DPMSolverPPSinglestep",
    "DPMSolverSDE",
    "DPMSolverSinglestep",
    "EulerMaruyama",
    "Heun",
    "PredictorCorrector",
    "ProbabilityFlow",
    "ReverseDiffusion",
    "Run",
    "Sampler",
    "UniPC",
    "draw_prior",
]
