"""Two processes with split weights go through the cases and compare with one process: `sharded.py NAMES OUT`."""

import json
import os
import sys
import traceback
from datetime import timedelta
from pathlib import Path

import torch
from cases import CASES, loss_of, shard
from gradients import RELU, account, alone, compare, seed
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from integrand.errors import UsageError
from integrand.modules.continuous.ode import ODEDynamics
from integrand.modules.sharded import Shards
from integrand.solvers import Dopri5


def together(case, rank, mesh):
    """The whole gradient of the two halves of the batch, the share of this process in it, and its account."""
    module, solves = case.build(), []
    torch.relu = torch.tanh if case.adaptive else RELU
    module.check_shardable()
    Shards(module, mesh)
    seed(rank)
    loss_of(module, shard(case.batch(), rank), solves).backward()
    grads = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    assert all(isinstance(g, DTensor) for g in grads.values())
    own = sum(p.to_local().numel() for p in module.parameters())
    share = own / sum(p.numel() for p in module.parameters())
    return {n: g.full_tensor() for n, g in grads.items()}, share, account(solves)


def split_field(rank, mesh):
    """What a solve says whose field, rather than what surrounds it, is a part of its own."""

    class Field(torch.nn.Linear):
        def forward(self, t, h):
            return super().forward(h)

    dynamics = ODEDynamics(Field(8, 8), Dopri5(), 1.0, 8)
    fully_shard(dynamics.field, mesh=mesh)
    try:
        dynamics(torch.ones(2, 3, 8) * (1 + 10 * rank))
    except UsageError as error:
        return str(error)
    return "solved"


def main():
    names, out = sys.argv[1].split(","), sys.argv[2]
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo", timeout=timedelta(seconds=120))
    mesh = init_device_mesh("cpu", (2,))
    report = {"split field": split_field(rank, mesh)}
    for name in names:
        case = CASES[name]
        try:
            mine, share, nfe = together(case, rank, mesh)
        except UsageError as error:
            report[name] = {"refused": str(error)}
            continue
        except Exception:
            report[name] = {"failed": traceback.format_exc()}
            continue
        total = torch.tensor(nfe)
        dist.all_reduce(total)
        reference, single = alone(case)
        report[name] = compare(mine, reference) | {
            "share": share,
            "nfe": nfe,
            "total": total.tolist(),
            "single": single,
        }
    if rank == 0:
        Path(out).write_text(json.dumps(report), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
