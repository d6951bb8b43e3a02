"""What tracking costs: CPU time per training step and per epoch, against the same loop without it."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..quiet import TRAINER, quiet

TARGETS_MS = {"default interval": 0.3, "every step": 1.0}
_WARM_UP = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `integrand bench tracking`."""
    parser.add_argument("--steps", type=int, default=1000, help="measured training steps (default: 1000)")
    parser.add_argument("--repetitions", type=int, default=5, help="how often each arm runs (default: 5)")
    parser.add_argument(
        "--interval",
        type=int,
        default=10,
        help="the default interval, as configs/base.yaml has it (default: 10)",
    )
    parser.add_argument("--json", type=Path, help="write all measurements to this file")


def run(args: argparse.Namespace) -> int:
    """Measure, print, and return 0 if the targets are met, 1 if not.

    Each arm trains the same small network for the same steps; the arms take turns, so that a busy moment of
    the machine hits all of them. Counted is the CPU time of the process with all its threads, so what the
    sending thread uses counts, up to the moment at which the store has every point.
    """
    import torch

    torch.set_num_threads(1)
    intervals = {"no tracking": 0, "default interval": args.interval, "every step": 1}
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in intervals}
    with quiet(TRAINER), tempfile.TemporaryDirectory() as folder, _working_in(Path(folder)):
        _measure(20, 1)  # imports, the first connection, the tables of the store
        for _ in range(args.repetitions):
            for name, interval in intervals.items():
                measured[name].append(_measure(args.steps, interval))
    base = statistics.median(m["step_ms"] for m in measured["no tracking"])
    report: dict[str, Any] = {
        "steps": args.steps,
        "repetitions": args.repetitions,
        "loop_ms": base,
        "arms": {},
    }
    print(f"training loop without tracking: {base:.3f} ms CPU per step")
    missed = False
    for name, target in TARGETS_MS.items():
        extra, epoch = _extra(measured[name], measured["no tracking"])
        cost = statistics.median(extra)
        missed |= cost > target
        report["arms"][name] = {
            "interval": intervals[name],
            "step_ms": cost,
            "target_ms": target,
            "spread_ms": [min(extra), max(extra)],
            "epoch_ms": epoch,
        }
        print(
            f"{name} ({intervals[name]}): {cost:+.3f} ms per step [{min(extra):+.3f}, {max(extra):+.3f}], "
            f"target < {target} ms: {'met' if cost <= target else 'MISSED'}; {epoch:+.1f} ms per epoch's end"
        )
    if args.json:
        args.json.write_text(json.dumps({**report, "measured": measured}, indent=1), encoding="utf-8")
    return 1 if missed else 0


def _extra(arm: list[dict[str, float]], base: list[dict[str, float]]) -> tuple[list[float], float]:
    """What an arm costs over the base: per step in each repetition, and at the end of an epoch."""
    # paired by repetition: the machine was equally busy for both arms
    steps = [m["step_ms"] - b["step_ms"] for m, b in zip(arm, base, strict=True)]
    epoch = statistics.median(m["epoch_ms"] for m in arm) - statistics.median(m["epoch_ms"] for m in base)
    return steps, epoch


def _measure(steps: int, interval: int) -> dict[str, float]:
    """CPU milliseconds per step and at the end of an epoch; interval 0 trains without tracking."""
    import torch
    from lightning.pytorch import Trainer, seed_everything
    from torch.utils.data import DataLoader, TensorDataset

    from ..tracking import MLflowTracker, default_callbacks
    from ._tracking_model import Probe, StandIn

    seed_everything(0, verbose=False)
    tracker = MLflowTracker(experiment="bench", step_interval=interval) if interval else None
    probe = Probe(_WARM_UP, _WARM_UP + steps, tracker)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        max_steps=_WARM_UP + steps + 1,
        logger=tracker or False,
        callbacks=[*(default_callbacks() if tracker else []), probe],
        enable_checkpointing=tracker is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    batch = 16
    count = batch * (_WARM_UP + steps)
    samples = TensorDataset(torch.randn(count, 8), torch.randint(0, 4, (count,)))
    trainer.fit(StandIn(), DataLoader(samples, batch), DataLoader(TensorDataset(*samples[:batch]), batch))
    return {"step_ms": 1e3 * probe.seconds / steps, "epoch_ms": 1e3 * probe.epoch_end}


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """A store of its own, whatever the environment names."""
    before = Path.cwd()
    kept = {name: os.environ.pop(name, None) for name in ("MLFLOW_TRACKING_URI", "INTEGRAND_RUNS")}
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.update({name: value for name, value in kept.items() if value is not None})


def main() -> int:
    """`python -m integrand.benchmarks.tracking`."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    started = time.perf_counter()
    code = main()
    print(f"took {time.perf_counter() - started:.0f} s")
    raise SystemExit(code)
