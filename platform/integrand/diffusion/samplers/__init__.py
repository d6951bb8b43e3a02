"""Samplers: one method each, all behind one contract."""

from .ancestral import Ancestral
from .base import Run, Sampler, draw_prior
from .ddim import DDIM
from .deis_ab import DEISAB
from .deis_rk import DEISRK
from .dpm2 import DPM2
from .dpm_2s_ancestral import DPMSolverPP2SAncestral
from .dpm_adaptive import DPMSolverAdaptive
from .dpm_multistep import DPMSolverMultistep, DPMSolverPPMultistep, DPMSolverSDE
from .dpm_pp_sde import DPMSolverPPSDE
from .dpm_singlestep import DPMSolverPPSinglestep, DPMSolverSinglestep
from .er_sde import ERSDE
from .euler_maruyama import EulerMaruyama
from .heun import Heun
from .ipndm import IPNDM
from .plms import PLMS
from .pndm import PNDM
from .predictor_corrector import PredictorCorrector
from .probability_flow import ProbabilityFlow
from .repaint import RePaint
from .restart import Restart, RestartInterval
from .reverse_diffusion import ReverseDiffusion
from .sa_solver import SASolver
from .seeds import SEEDS
from .unipc import UniPC

__all__ = [
    "DDIM",
    "DEISAB",
    "DEISRK",
    "DPM2",
    "ERSDE",
    "IPNDM",
    "PLMS",
    "PNDM",
    "SEEDS",
    "Ancestral",
    "DPMSolverAdaptive",
    "DPMSolverMultistep",
    "DPMSolverPP2SAncestral",
    "DPMSolverPPMultistep",
    "DPMSolverPPSDE",
    "DPMSolverPPSinglestep",
    "DPMSolverSDE",
    "DPMSolverSinglestep",
    "EulerMaruyama",
    "Heun",
    "PredictorCorrector",
    "ProbabilityFlow",
    "RePaint",
    "Restart",
    "RestartInterval",
    "ReverseDiffusion",
    "Run",
    "SASolver",
    "Sampler",
    "UniPC",
    "draw_prior",
]
