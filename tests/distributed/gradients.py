"""Two processes of one DDP group go through the cases and compare with one process: `gradients.py NAMES OUT`."""

import json
import os
import sys
import traceback
from datetime import timedelta
from pathlib import Path

import torch
from cases import CASES, loss_of, shard
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

RELU = torch.relu
"""Adaptive cases get a smooth field instead: where ReLU has its kinks, the gradient of a solve depends on where
its steps happen to lie by far more than rtol, on one process as on two."""


class Loss(nn.Module):
    """The loss as the forward pass that DDP wants."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.solves = []

    def forward(self, batch):
        return loss_of(self.module, batch, self.solves)


def seed(rank):
    """Random numbers of one process."""
    torch.manual_seed(100 + rank)


def gradients(module):
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


def account(solves):
    return [sum(s.nfe_forward for s in solves), sum(s.nfe_backward for s in solves)]


def together(case, rank):
    """This process's gradient and account, by DDP on its half of the batch."""
    module = case.build()
    torch.relu = torch.tanh if case.adaptive else RELU
    loss = Loss(module)
    wrapped = DistributedDataParallel(loss, find_unused_parameters=module.skips_parameters)
    seed(rank)
    wrapped(shard(case.batch(), rank)).backward()
    return gradients(module), account(loss.solves)


def alone(case):
    """The gradient of one process on the whole batch, and what it evaluated.

    What draws random numbers sees the two halves one after the other, each with the numbers of its process: a
    single pass would draw others for the whole batch. The loss is their mean, which is that of the whole.
    """
    module, solves = case.build(), []
    torch.relu = torch.tanh if case.adaptive else RELU
    if not case.drawn:
        loss_of(module, case.batch(), solves).backward()
    else:
        for rank in (0, 1):
            seed(rank)
            loss_of(module, shard(case.batch(), rank), solves).backward()
        for p in module.parameters():
            if p.grad is not None:
                # not the loss: an adaptive backward solve takes other steps for half the gradient
                p.grad /= 2
    return gradients(module), account(solves)


def compare(mine, reference):
    """The largest error of any parameter's gradient relative to the largest gradient; inf if one is missing."""
    if set(mine) != set(reference):
        return {"missing": sorted(set(mine) ^ set(reference)), "error": float("inf"), "scale": 1.0}
    scale = max((float(g.abs().max()) for g in reference.values()), default=0.0)
    return {
        "error": max(float((mine[n] - g).abs().max()) for n, g in reference.items()) / scale,
        "scale": scale,
    }


def main():
    names, out = sys.argv[1].split(","), sys.argv[2]
    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo", timeout=timedelta(seconds=120))
    report = {}
    for name in names:
        case = CASES[name]
        try:
            mine, nfe = together(case, rank)
        except Exception:
            report[name] = {"failed": traceback.format_exc()}
            nfe, mine = [0, 0], {}
        total = torch.tensor(nfe)
        dist.all_reduce(total)
        both = [None, None]
        dist.all_gather_object(both, (mine, nfe))
        if rank == 0 and "failed" not in report.get(name, {}):
            reference, single = alone(case)
            report[name] = compare(mine, reference) | {
                "nfe": nfe,
                "total": total.tolist(),
                "single": single,
                "equal": all(torch.equal(g, both[1][0][n]) for n, g in mine.items()),
            }
    if rank == 0:
        Path(out).write_text(json.dumps(report), encoding="utf-8")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
