"""Two processes try what cannot work; each says what it was told: `refused.py`."""

import os
from datetime import timedelta

import torch
from torch import distributed as dist
from torch import nn

from integrand.errors import UsageError
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
    # as many evaluations on every process: this works
    print("euler:", told(Euler(num_steps=4), Talking()))
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
