"""`integrand bench samplers`: what sampling costs over the network evaluations it makes, at 28×28.

The time inside the network is taken in the same run, call by call, so that a busy machine slows both alike.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from integrand.diffusion import (
    DDIM,
    DEISAB,
    PLMS,
    Ancestral,
    Denoiser,
    DiscreteGrid,
    DiscreteVP,
    DPMSolverPPMultistep,
    Heun,
    LogSNRGrid,
    SampleNoise,
    Sampler,
    TimeGrid,
    UniPC,
    draw_prior,
)

from .solvers_timing import Row, one_thread, paired_row, write_rows

NFE = 20
TARGET = 1.05
CASES: dict[str, tuple[Sampler, TimeGrid, str, dict[str, object]]] = {
    "ddim": (DDIM(), DiscreteGrid(), "DDIMScheduler", {"clip_sample": False}),
    "ddpm": (Ancestral(), DiscreteGrid(), "DDPMScheduler", {"clip_sample": False}),
    "plms": (PLMS(), DiscreteGrid("leading"), "PNDMScheduler", {"skip_prk_steps": True}),
    "dpm-solver++ 2M": (DPMSolverPPMultistep(2), DiscreteGrid(), "DPMSolverMultistepScheduler", {}),
    "deis 2": (DEISAB(1, "log_rho"), DiscreteGrid(), "DEISMultistepScheduler", {}),
    "unipc-2": (UniPC(2), DiscreteGrid(), "UniPCMultistepScheduler", {}),
    "heun": (Heun(), LogSNRGrid(to_zero=True), "HeunDiscreteScheduler", {}),
}
"""Sampler, its grid, and diffusers' scheduler of the same method."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the benchmark."""
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as a JSON list")
    parser.add_argument("--nets", nargs="*", metavar="NAME", help="only these networks: small tiny")
    parser.add_argument("--batch", type=int, default=64, help="samples at once (default 64)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, noise and order (default 0)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")


class ConvNet(nn.Module):
    """A residual stack of 3×3 convolutions told the time by a bias, standing in for a small U-Net.

    Args:
        channels: Width.
        depth: Number of residual convolutions.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.inner = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(depth))
        self.time = nn.Linear(1, channels)
        self.last = nn.Conv2d(channels, 1, 3, padding=1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Noise, shape of x (batch, 1, 28, 28), for steps `label`, shape (batch,)."""
        h = self.first(x) + self.time(label.view(-1, 1) / 1000).view(len(x), -1, 1, 1)
        for layer in self.inner:
            h = h + layer(torch.nn.functional.silu(h))
        out: Tensor = self.last(h)
        return out


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, and write the rows."""
    console = Console(stderr=True)
    started = time.monotonic()
    with one_thread():
        rows = _rows(args, console)
    _print(rows, time.monotonic() - started, args)
    if args.json is not None:
        write_rows(rows, args.json)
    return 0


class Timed(nn.Module):
    """A network that adds up the CPU seconds spent in it.

    Args:
        net: Called as `net(x, label)`.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.seconds, self.calls = net, 0.0, 0

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Evaluate."""
        _wait(x)
        start = time.process_time()
        out: Tensor = self.net(x, label)
        _wait(x)
        self.seconds += time.process_time() - start
        self.calls += 1
        return out

    def reset(self) -> tuple[float, int]:
        """Seconds and calls so far; starts again at zero."""
        found = self.seconds, self.calls
        self.seconds, self.calls = 0.0, 0
        return found


def _repetitions(args: argparse.Namespace) -> int:
    """Repetitions of one sampler on one network."""
    return 2 if args.quick else 7


def _rows(args: argparse.Namespace, console: Console) -> list[Row]:
    if importlib.util.find_spec("diffusers") is None:
        console.print("diffusers is not installed: no rows against it (pip install diffusers)")
    torch.manual_seed(args.seed)
    nets = {"small": ConvNet(24, 4), "tiny": ConvNet(8, 1)}
    chosen = {name: net for name, net in nets.items() if not args.nets or name in args.nets}
    jobs = [(name, net.to(args.device).eval(), case) for name, net in chosen.items() for case in CASES]
    rows: list[Row] = []
    for job in track(jobs, "bench samplers", console=console):
        rows += _case(*job, args)
    return rows


def _timed_loops(
    loops: dict[str, Callable[[], object]], timed: Timed, x: Tensor, repetitions: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], dict[str, int]]:
    """Seconds in all, seconds inside the network, and its evaluations, of loops that take turns."""
    totals: dict[str, list[float]] = {key: [] for key in loops}
    inside: dict[str, list[float]] = {key: [] for key in loops}
    calls: dict[str, int] = {}
    for repetition in range(repetitions + 1):
        for key, loop in loops.items():
            timed.reset()
            start = time.process_time()
            loop()
            _wait(x)
            total = time.process_time() - start
            seconds, calls[key] = timed.reset()
            if repetition:  # the first warms caches
                totals[key].append(total)
                inside[key].append(seconds)
    return totals, inside, calls


def _case(name: str, net: nn.Module, case: str, args: argparse.Namespace) -> list[Row]:
    sampler, grid, scheduler, options = CASES[case]
    process, timed = DiscreteVP(), Timed(net)
    denoiser = Denoiser(timed, process)
    shape = (args.batch, 1, 28, 28)
    x = draw_prior(process, grid, SampleNoise(args.seed, shape, device=args.device))

    def ours() -> None:
        noise = SampleNoise(args.seed, shape, device=args.device)
        sampler.sample(denoiser, process, grid, x, noise, nfe=NFE)

    loops: dict[str, Callable[[], object]] = {"ours": ours}
    if importlib.util.find_spec("diffusers") is not None:
        loops["diffusers"] = _diffusers(scheduler, options, timed, x)
    totals, inside, calls = _timed_loops(loops, timed, x, _repetitions(args))
    reference, target = "NFE × evaluation", TARGET if name == "small" else None
    made = calls["ours"]
    rows = [paired_row(case, name, reference, totals["ours"], inside["ours"], target, nfe=made)]
    if "diffusers" in loops:
        theirs = calls["diffusers"]
        label = f"diffusers {scheduler}"
        rows.append(
            paired_row(label, name, reference, totals["diffusers"], inside["diffusers"], None, nfe=theirs)
        )
        # what is spent outside the network for one evaluation, which a busy machine blurs least
        ours_spent, theirs_spent = (
            [(t - s) / calls[key] for t, s in zip(totals[key], inside[key], strict=True)]
            for key in ("ours", "diffusers")
        )
        outside = f"{case} outside the network"
        rows.append(paired_row(outside, name, "diffusers", ours_spent, theirs_spent, 1.0, nfe=made))
    return rows


def _diffusers(name: str, options: dict[str, object], net: nn.Module, x: Tensor) -> Callable[[], object]:
    """The loop of diffusers' pipelines: set_timesteps, then network and scheduler step by step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler: Any = getattr(importlib.import_module("diffusers"), name)(**options)
    # Heun's steps are two evaluations but for the last
    steps = {"HeunDiscreteScheduler": NFE // 2, "PNDMScheduler": NFE - 1}.get(name, NFE)

    def loop() -> None:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler.set_timesteps(steps, device=x.device)
            y = x * scheduler.init_noise_sigma
            for t in scheduler.timesteps:
                scaled = scheduler.scale_model_input(y, t)
                output = net(scaled, t.to(x.dtype).expand(len(x)))
                y = scheduler.step(output, t, y).prev_sample

    return loop


def _wait(x: Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize()


def _print(rows: list[Row], seconds: float, args: argparse.Namespace) -> None:
    title = f"Sampler cost at 28×28, batch {args.batch}, NFE {NFE}, CPU time, one thread, {seconds:.0f} s"
    table = Table(title=f"{title}, seed {args.seed}")
    for heading in ("case", "network", "relative to", "ratio", "±", "target", "met", "NFE", "n"):
        table.add_column(
            heading, justify="left" if heading in ("case", "network", "relative to") else "right"
        )
    for row in rows:
        target = "" if row.target is None else f"{row.target:.2f}"
        met = "" if row.met is None else ("yes" if row.met else "no")
        cells = (row.case, row.field, row.reference, f"{row.ratio:.3f}", f"{row.spread:.3f}", target, met)
        table.add_row(*cells, str(row.nfe), str(row.repetitions))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    console.print(f"torch {torch.__version__}, {platform.machine()}, device {args.device}")
