"""What a step costs more in two processes: `python -m integrand.benchmarks.ddp_step`.

Both processes take blocks of steps, by turns alone and by DDP, with the same work for each process. The
difference is what DDP adds: its hooks, the exchange over gloo, and waiting for the slower process. They take
turns so that a load that comes and goes meets both alike.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import spawn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from integrand import modules
from integrand.modules import families

from ..spec import DataSpec

PROCESSES = 2
WARM_UP = 5
SPEC = DataSpec("made-up", "image-classification", (1, 8, 8), num_classes=10)


def _step(net: nn.Module, batch: tuple[Tensor, Tensor], optimizer: torch.optim.Optimizer) -> None:
    x, y = batch
    optimizer.zero_grad()
    cross_entropy(net(x), y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _seconds(step: Callable[[], None], steps: int) -> float:
    """Seconds per step of a block that both processes begin together."""
    distributed.barrier()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps


def _measure(rank: int, port: int, family: str, batch: int, steps: int, blocks: int, out: Any) -> None:
    """One process of the group; the first puts `(parameters, alone, by DDP)` into `out`."""
    modules.load_all()
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    (made,) = [f for f in families() if f.family == family]
    generator = torch.Generator().manual_seed(rank)
    data = (
        torch.randn(batch, *SPEC.input_shape, generator=generator),
        torch.randint(10, (batch,), generator=generator),
    )
    runs: list[Callable[[], None]] = []
    for by_ddp in (False, True):
        torch.manual_seed(0)
        module: Any = made(SPEC)
        net: nn.Module = (
            DistributedDataParallel(module, find_unused_parameters=module.skips_parameters)
            if by_ddp
            else module
        )
        optimizer = torch.optim.Adam(module.parameters())
        runs.append(lambda net=net, optimizer=optimizer: _step(net, data, optimizer))  # type: ignore[misc]
    for run in runs:
        _seconds(run, WARM_UP)
    times = [[_seconds(run, steps) for run in runs] for _ in range(blocks)]
    if rank == 0:
        out.put((sum(p.numel() for p in module.parameters()), *zip(*times, strict=True)))
    distributed.barrier()
    distributed.destroy_process_group()


def measure(family: str, batch: int, steps: int, blocks: int) -> tuple[int, list[float], list[float]]:
    """Parameters of the family, and seconds per step of every block, alone and by DDP.

    Args:
        family: An image classifier by its registered name.
        batch: Samples of each process.
        steps: Steps of a block.
        blocks: Blocks of either kind.
    """
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    out = get_context("spawn").SimpleQueue()
    arguments = (port, family, batch, steps, blocks, out)
    spawn(_measure, arguments, nprocs=PROCESSES)  # type: ignore[no-untyped-call]
    parameters, alone, together = out.get()
    return parameters, list(alone), list(together)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per family."""
    parser = argparse.ArgumentParser(
        prog="python -m integrand.benchmarks.ddp_step",
        description="What DDP adds to a step, on two CPU processes.",
    )
    parser.add_argument("families", nargs="*", default=["resnet", "neural-ode"], help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="of each process, default: 32")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="of a block, default: 20")
    parser.add_argument("--blocks", type=int, default=15, metavar="N", help="of either kind, default: 15")
    args = parser.parse_args(argv)
    print("family       parameters  alone      by DDP     added: median (quartiles) of the blocks")
    for family in args.families:
        parameters, alone, together = measure(family, args.batch, args.steps, args.blocks)
        added = [1000 * (b - a) for a, b in zip(alone, together, strict=True)]
        low, middle, high = statistics.quantiles(added, n=4)
        one, two = (1000 * statistics.median(v) for v in (alone, together))
        print(
            f"{family:12} {parameters:10,}  {one:6.2f} ms  {two:6.2f} ms"
            f"  {middle:.2f} ms ({low:.2f} to {high:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
