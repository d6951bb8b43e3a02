"""What cannot work in several processes is refused in words instead of hanging or losing gradients."""

import pytest
import torch
from torch import nn

from integrand.solvers import Dopri5, SolverOptionError, TorchDiffEq


@pytest.mark.slow
def test_a_field_that_talks_to_other_processes_wants_fixed_steps(run_pair):
    for text in run_pair("refused.py"):
        lines = dict(
            line.split(": ", 1) for line in text.splitlines() if ": " in line and "Warning" not in line
        )
        for name in ("dopri5", "torchdiffeq dopri5", "torchdiffeq dopri5 adjoint", "sdirk3", "per sample"):
            assert "talks to the other processes" in lines[name], text
            assert "take fixed steps" in lines[name]
            float(lines[f"{name} alone"])
        float(lines["euler"])
        assert "talks to the other processes" in lines["equilibrium"], text
        assert "fixed steps" not in lines["equilibrium"]
        float(lines["equilibrium alone"])


@pytest.mark.parametrize("gradient", ["backprop", "adjoint"])
def test_replicas_of_data_parallel_are_refused(gradient):
    """torchdiffeq issue 119: replicas own no parameters, so the adjoint's gradients were zero."""
    field = nn.Linear(2, 2)
    replica = field._replicate_for_data_parallel()
    for wrong in (replica, nn.DataParallel(field)):
        with pytest.raises(SolverOptionError, match=r"DataParallel.*one process per device"):
            TorchDiffEq(gradient=gradient).solve(wrong, torch.ones(1, 2), [0.0, 1.0])
    with pytest.raises(SolverOptionError, match="DataParallel"):
        Dopri5().solve(replica, torch.ones(1, 2), [0.0, 1.0])
