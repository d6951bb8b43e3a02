"""Two processes try what cannot work; each says what it was told: `refused.py`."""

import os
from datetime import timedelta

import torch
from torch import distributed as dist
from torch import nn

from integrand.errors import UsageError
from integrand.modules.discrete.deep_equilibrium import EquilibriumDynamics
from integrand.modules.discrete.equilibrium_blocks import ResidualBlock
from integrand.solvers import SDIRK3, Dopri5, Euler, TorchDiffEq

MEAN = torch.zeros(1)


class Talking(nn.Module):
    """A field that needs the mean over all processes, as SyncBatchNorm does."""

    def forward(self, t, y):
        mean = y.mean()
        dist.all_reduce(mean)
        return mean / dist.get_world_size() - y


class Quiet(nn.Module):
    def forward(self, t, y):
        return -y


def told(solver, field):
    """The refusal, or the value after the solve."""
    y = torch.tensor([[1.0 + 10 * dist.get_rank()], [2.0]])
    try:
        return f"{float(solver.solve(field, y, [0.0, 1.0]).ys[-1].sum()):.4f}"
    except UsageError as error:
        return str(error)


def searched(field):
    """The same for the search of a deep equilibrium net."""
    dynamics = EquilibriumDynamics(1, ResidualBlock(1, 0.5, lambda _: field), "anderson", 1e-4, 40)
    try:
        return f"{float(dynamics(torch.ones(2, 1, 2, 2)).ys[-1].detach().sum()):.4f}"
    except UsageError as error:
        return str(error)


def main():
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    solvers = {
        "dopri5": Dopri5(),
        "torchdiffeq dopri5": TorchDiffEq(),
        "torchdiffeq dopri5 adjoint": TorchDiffEq(gradient="adjoint"),
        "sdirk3": SDIRK3(),
        "per sample": Dopri5(per_sample=True),
    }
    for name, solver in solvers.items():
        print(f"{name}: {told(solver, Talking())}")
        print(f"{name} alone: {told(solver, Quiet())}")
    print("equilibrium:", searched(Talking()))
    print("equilibrium alone:", searched(Quiet()))
    # as many evaluations on every process: this works
    print("euler:", told(Euler(num_steps=4), Talking()))
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
