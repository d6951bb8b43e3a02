"""What a step costs more in two processes: `python -m integrand.benchmarks.ddp_step`.

Both processes take blocks of steps, by turns alone, by DDP and with split weights (FSDP2), with the same work
for each. The difference is what a strategy adds: hooks, the exchange over gloo, and the wait for the slower
process. They take turns so that a load that comes and goes meets all alike.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.multiprocessing import get_context
from torch.multiprocessing.spawn import spawn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from integrand import modules
from integrand.modules import families
from integrand.modules.sharded import Shards

from ..spec import Classes, ImageSpec

PROCESSES = 2
STRATEGIES = ("alone", "ddp", "fsdp2")
WARM_UP = 5
SPEC = ImageSpec("made-up", Classes(10), (1, 8, 8))


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


@dataclass
class Found:
    """What was measured of one family.

    Args:
        parameters: Its number of parameters.
        seconds: By strategy, seconds per step of every block.
        held: By strategy, numbers that the first process holds between steps: weights and Adam's states.
    """

    parameters: int
    seconds: dict[str, list[float]]
    held: dict[str, int]


def _prepare(strategy: str, module: Any) -> nn.Module:
    if strategy == "ddp":
        return DistributedDataParallel(module, find_unused_parameters=module.skips_parameters)
    if strategy == "fsdp2":
        Shards(module, init_device_mesh("cpu", (PROCESSES,)))
    return module  # type: ignore[no-any-return]


def _held(optimizer: torch.optim.Optimizer) -> int:
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    states = [v for state in optimizer.state.values() for v in state.values()]
    own = (t.to_local() if isinstance(t, DTensor) else t for t in (*weights, *states))
    return sum(t.numel() for t in own)


def _measure(
    rank: int, port: int, family: str, options: dict[str, Any], batch: int, steps: int, blocks: int, out: Any
) -> None:
    """One process of the group; the first puts what it found into `out`."""
    modules.load_all()
    torch.set_num_threads(1)
    # FSDP2's hint for outputs that are changed in place, which nothing here does
    warnings.filterwarnings("ignore", ".*returned a view tensor. An in-place op on this view.*")
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    distributed.init_process_group("gloo", rank=rank, world_size=PROCESSES)
    (made,) = [f for f in families() if f.family == family]
    generator = torch.Generator().manual_seed(rank)
    data = (
        torch.randn(batch, *SPEC.input_shape, generator=generator),
        torch.randint(10, (batch,), generator=generator),
    )
    runs: dict[str, Callable[[], None]] = {}
    optimizers: dict[str, torch.optim.Optimizer] = {}
    for strategy in STRATEGIES:
        torch.manual_seed(0)
        module: Any = made(SPEC, **options)
        parameters = sum(p.numel() for p in module.parameters())
        net = _prepare(strategy, module)
        optimizers[strategy] = optimizer = torch.optim.Adam(module.parameters())
        runs[strategy] = lambda net=net, optimizer=optimizer: _step(net, data, optimizer)  # type: ignore[misc]
    for run in runs.values():
        _seconds(run, WARM_UP)
    times = [[_seconds(run, steps) for run in runs.values()] for _ in range(blocks)]
    if rank == 0:
        seconds = dict(zip(runs, map(list, zip(*times, strict=True)), strict=True))
        out.put(Found(parameters, seconds, {name: _held(o) for name, o in optimizers.items()}))
    distributed.barrier()
    distributed.destroy_process_group()


def measure(family: str, options: dict[str, Any], batch: int, steps: int, blocks: int) -> Found:
    """Go through the strategies with one family.

    Args:
        family: A family by its registered name.
        options: Its settings.
        batch: Samples of each process.
        steps: Steps of a block.
        blocks: Blocks of each kind.
    """
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    out = get_context("spawn").SimpleQueue()
    arguments = (port, family, options, batch, steps, blocks, out)
    spawn(_measure, arguments, nprocs=PROCESSES)  # type: ignore[no-untyped-call]
    found: Found = out.get()
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per family."""
    parser = argparse.ArgumentParser(
        prog="python -m integrand.benchmarks.ddp_step",
        description="What DDP and FSDP2 add to a step, on two CPU processes.",
    )
    parser.add_argument("families", nargs="*", default=["resnet", "neural-ode"], help="default: %(default)s")
    parser.add_argument("--channels", type=int, default=None, metavar="N", help="width of the nets")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="of each process, default: 32")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="of a block, default: 20")
    parser.add_argument("--blocks", type=int, default=15, metavar="N", help="of each kind, default: 15")
    args = parser.parse_args(argv)
    options = {} if args.channels is None else {"channels": args.channels}
    print("family       parameters  strategy  step       held   added: median (quartiles) of the blocks")
    for family in args.families:
        found = measure(family, options, args.batch, args.steps, args.blocks)
        alone = found.seconds["alone"]
        for name, seconds in found.seconds.items():
            added = [1000 * (b - a) for a, b in zip(alone, seconds, strict=True)]
            low, middle, high = statistics.quantiles(added, n=4)
            share = found.held[name] / found.held["alone"]
            print(
                f"{family:12} {found.parameters:10,}  {name:8}  {1000 * statistics.median(seconds):6.2f} ms"
                f"  {share:4.0%}   {middle:.2f} ms ({low:.2f} to {high:.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
