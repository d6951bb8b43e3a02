"""Loads `cases.py` as `diffusion_cases`, and the processes that many tests use."""

import importlib.util
import sys
from pathlib import Path

import pytest

from integrand.diffusion import VP, DiscreteVP, LogSNRGrid

# pytest's importlib mode keeps this folder off the path
_spec = importlib.util.spec_from_file_location("diffusion_cases", Path(__file__).with_name("cases.py"))
_cases = importlib.util.module_from_spec(_spec)
sys.modules["diffusion_cases"] = _cases
_spec.loader.exec_module(_cases)


@pytest.fixture
def wide():
    """A process and grid from nearly pure noise to λ = 1, where the mixture has resolved."""
    process = VP(beta_max=40.0)
    return process, LogSNRGrid(t_end=process.node_at(1.0).t)


@pytest.fixture
def ddpm():
    return DiscreteVP()
