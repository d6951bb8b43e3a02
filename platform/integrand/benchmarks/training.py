"""`integrand bench training`: what training a generative model costs over a plain loop that does the same.

Both train the same U-Net on the digits with the same batches, optimiser and average of the weights; ours by
Lightning's `Trainer.fit`, as `integrand fit` does without a store. And what the network's options gain.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from integrand.datamodules import Digits
from integrand.modules import DiffusionModel, FlowMatching
from integrand.modules.generative.averaging import averaged
from integrand.modules.generative.backbones import TimeNet, UNet
from integrand.modules.generative.base import GenerativeModule

from ..quiet import TRAINER, quiet
from .solvers_timing import Row, one_thread, paired_row, write_rows

TARGET = 1 / 0.95
"""Of the images a second of the plain loop at least 0.95."""


def noise_error(net: TimeNet, x: Tensor) -> Tensor:
    """Denoising as one writes it down: E‖ε̂(α x + σ ε, t) − ε‖² on VP."""
    t, noise = torch.rand(len(x)), torch.randn_like(x)
    alpha = (-0.25 * 19.9 * t * t - 0.05 * t).exp()[:, None, None, None]
    error: Tensor = net(t, alpha * x + (1 - alpha**2).sqrt() * noise) - noise
    return error.square().mean()


def velocity_error(net: TimeNet, x: Tensor) -> Tensor:
    """Flow matching as one writes it down: E‖f(t, (1 − t) ε + t x) − (x − ε)‖²."""
    t, noise = torch.rand(len(x)), torch.randn_like(x)
    s = t[:, None, None, None]
    error: Tensor = net(t, (1 - s) * noise + s * x) - (x - noise)
    return error.square().mean()


CASES: dict[str, tuple[type[GenerativeModule], Callable[[TimeNet, Tensor], Tensor]]] = {
    "diffusion": (DiffusionModel, noise_error),
    "flow matching": (FlowMatching, velocity_error),
}
"""A family, and the loss of its plain loop."""

OPTIONS: dict[str, tuple[dict[str, bool], dict[str, bool]]] = {
    "channels_last": ({"channels_last": True}, {}),
    "compile": ({}, {"compile": True}),
}
"""Options that change the speed alone: of the U-Net, and of the family."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the benchmark."""
    parser.add_argument("--repetitions", type=int, default=7, metavar="N", help="default 7")
    parser.add_argument("--batch", type=int, default=128, help="images at once (default 128)")
    parser.add_argument("--channels", type=int, default=16, help="of the U-Net (default 16)")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, noise and order (default 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE as a JSON list")


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, and write the rows."""
    console = Console(stderr=True)
    data = Digits(normalise="symmetric", batch_size=args.batch)
    data.prepare_data()
    with one_thread(), quiet(TRAINER):
        jobs = [partial(_case, name) for name in CASES] + [partial(_option, name) for name in OPTIONS]
        rows = [job(data, args) for job in track(jobs, "bench training", console=console)]
    _print(rows, args)
    if args.json is not None:
        write_rows(rows, args.json)
    return 0


class Clock(L.Callback):
    """CPU seconds of the last epoch, and its steps."""

    def __init__(self) -> None:
        self.seconds, self.steps, self._began = 0.0, 0, 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The epoch begins."""
        self.steps, self._began = 0, time.process_time()

    def on_train_batch_end(self, *args: Any) -> None:
        """One step more."""
        self.steps += 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The epoch has ended."""
        self.seconds = time.process_time() - self._began


def _case(name: str, data: Digits, args: argparse.Namespace) -> Row:
    family, loss = CASES[name]
    ours: list[float] = []
    plain: list[float] = []
    steps = 0
    for repetition in range(args.repetitions + 1):
        torch.manual_seed(args.seed + repetition)
        module = family(data.spec, backbone=_unet(args))
        seconds, steps = fitted(module, data)
        theirs = looped(module.net, loss, data)
        if repetition:  # the first warms caches
            ours.append(seconds)
            plain.append(theirs)
    return paired_row(name, f"U-Net {args.channels}", "plain loop", ours, plain, TARGET, nfe=steps)


def _option(name: str, data: Digits, args: argparse.Namespace) -> Row:
    """Training with an option over training without it."""
    of_net, of_family = OPTIONS[name]
    times: tuple[list[float], list[float]] = ([], [])
    steps = 0
    for repetition in range(args.repetitions + 1):
        for seconds, own in zip(times, (True, False), strict=True):
            torch.manual_seed(args.seed + repetition)
            net = _unet(args, **of_net if own else {})
            taken, steps = fitted(DiffusionModel(data.spec, backbone=net, **of_family if own else {}), data)
            if repetition:
                seconds.append(taken)
    return paired_row(f"diffusion, {name}", f"U-Net {args.channels}", "diffusion", *times, None, nfe=steps)


def _unet(args: argparse.Namespace, **options: bool) -> UNet:
    return UNet(channels=args.channels, multipliers=[1, 2], blocks=1, **options)


def fitted(module: GenerativeModule, data: Digits) -> tuple[float, int]:
    """CPU seconds and steps of the second epoch of a fit."""
    clock = Clock()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=2,
        limit_val_batches=0,
        enable_model_summary=False,
        callbacks=[clock],
        **quiet,  # type: ignore[arg-type]
    )
    trainer.fit(module, data)
    return clock.seconds, clock.steps


def looped(net: TimeNet, loss: Callable[[TimeNet, Tensor], Tensor], data: Digits) -> float:
    """CPU seconds of the second epoch of a loop over the same batches."""
    net.train()
    optimizer, average = torch.optim.Adam(net.parameters(), lr=1e-3), averaged(net, 0.999)
    seconds = 0.0
    for _ in range(2):
        began = time.process_time()
        for x, _ in data.train_dataloader():
            optimizer.zero_grad()
            loss(net, x).backward()  # type: ignore[no-untyped-call]  # torch
            optimizer.step()
            average.update_parameters(net)
        seconds = time.process_time() - began
    return seconds


def _print(rows: list[Row], args: argparse.Namespace) -> None:
    title = f"Training at 8×8, batch {args.batch}, CPU time of an epoch, one thread, seed {args.seed}"
    table = Table(title=title)
    left = ("family", "network", "over")
    for heading in (*left, "time", "±", "images/s", "≥ 0.95", "steps", "n"):
        table.add_column(heading, justify="left" if heading in left else "right")
    for row in rows:
        met = "" if row.met is None else "yes" if row.met else "no"
        numbers = (f"{row.ratio:.3f}", f"{row.spread:.3f}", f"{1 / row.ratio:.3f}")
        table.add_row(row.case, row.field, row.reference, *numbers, met, str(row.nfe), str(row.repetitions))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    console.print(f"torch {torch.__version__}, {platform.machine()}")
