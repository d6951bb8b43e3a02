"""What a run costs: parameters, time, memory, floating-point operations."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from .base import TrackingCallback, gathered, step_of
from .described import family_of
from .energy import EnergyMeter, energy_meter
from .evaluating import evaluating

_SAMPLES_FOR_FLOPS = 8


class CostMonitor(TrackingCallback):
    """Records `cost/…`.

    - `parameters`: trainable ones.
    - `epoch_seconds`: training part of one epoch with data loading, without validation.
    - `seconds_per_epoch`: its median over the epochs so far, without the first, which warms up;
      `seconds_per_step` and `samples_per_second`: likewise by steps and by samples (of all processes).
    - `fit_seconds`: the whole fit.
    - `peak_memory_mb`: on a GPU the peak that PyTorch allocated during the fit, on a CPU the peak resident
      set of the process; the tag `peak_memory_kind` says which. `memory_growth_mb`, on a CPU: that peak less
      the resident set before the first step, so that the imported libraries do not count.
    - `flops_forward_per_sample`: operations that PyTorch's flop counter knows, in one forward pass of the
      trained network on a training batch; of a generative model in that of a training step.
    - `energy_joules`: of the fit, where the device reports it; the tag `energy_source` says which counters.
      Everything that ran on the device is in it. A resumed fit does not know what was used before.
    """

    def __init__(self) -> None:
        self._fit_started = self._epoch_started = 0.0
        self._paused = self._pause_started = 0.0
        self._samples = self._steps = 0
        self._seconds: list[float] = []
        self._per_step: list[float] = []
        self._rates: list[float] = []
        self._example: Any = None
        self._baseline_mb = 0.0
        self._restored: dict[str, Any] | None = None
        self._energy: EnergyMeter | None = None
        self._energy_start = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count parameters and start the clock."""
        device = trainer.strategy.root_device
        self._fit_started = time.perf_counter()
        self._seconds, self._per_step, self._rates = [], [], []
        if self._restored is not None:
            # a resumed fit: its cost includes that of the processes before, up to their checkpoint
            self._fit_started -= self._restored["fit_seconds"]
            self._seconds, self._per_step, self._rates = (
                list(self._restored[name]) for name in ("seconds", "per_step", "rates")
            )
            self._restored = None
            self._energy = None
        else:
            self._start_energy(device)
        self._example = None
        self._baseline_mb = _resident_mb()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        if self.tracker is not None:
            count = float(sum(p.numel() for p in pl_module.parameters() if p.requires_grad))
            if self.tracker.history.last.get("cost/parameters") != count:
                self.tracker.log_metrics({"cost/parameters": count}, 0)
            kind = "cuda_allocated" if device.type == "cuda" else "resident_set"
            self.tracker.set_tags({"peak_memory_kind": kind})
            self.tracker.record.provenance["peak_memory_kind"] = kind

    def _start_energy(self, device: torch.device) -> None:
        self._energy = energy_meter(device)
        if self._energy is not None:
            self._energy_start = self._energy.read()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._samples = self._steps = 0
        self._paused = 0.0
        self._epoch_started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count steps and samples, and keep a few inputs of the first batch."""
        inputs = _inputs(batch)
        self._steps += 1
        if inputs is not None:
            self._samples += inputs.shape[0]
            if self._example is None:
                self._example = _few(batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the epoch's clock."""
        self._pause_started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the epoch's clock go on."""
        self._paused += time.perf_counter() - self._pause_started

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch."""
        if trainer.strategy.root_device.type == "cuda":
            torch.cuda.synchronize(trainer.strategy.root_device)
        seconds = time.perf_counter() - self._epoch_started - self._paused
        samples = sum(row[0] for row in gathered(trainer, [float(self._samples)]))
        self._seconds.append(seconds)
        values = {
            "cost/epoch_seconds": seconds,
            "cost/seconds_per_epoch": _settled(self._seconds),
            "cost/peak_memory_mb": _peak_mb(trainer),
        }
        if self._steps:
            self._per_step.append(seconds / self._steps)
            values["cost/seconds_per_step"] = _settled(self._per_step)
        if samples:
            self._rates.append(samples / seconds)
            values["cost/samples_per_second"] = _settled(self._rates)
        if self._energy is not None:
            self._energy.read()  # often enough to see every wrap of its counter
        if self.tracker is not None:
            self.tracker.epoch = trainer.current_epoch
            self.tracker.log_metrics(values, step_of(trainer))

    def state_dict(self) -> dict[str, Any]:
        """The times so far, so that a resumed fit goes on counting."""
        return {
            "fit_seconds": time.perf_counter() - self._fit_started,
            "seconds": list(self._seconds),
            "per_step": list(self._per_step),
            "rates": list(self._rates),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the times so far, at the start of the fit."""
        self._restored = state_dict

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what holds for the whole fit."""
        if self.tracker is None or not self._seconds:
            return
        values = {"cost/fit_seconds": time.perf_counter() - self._fit_started}
        if trainer.strategy.root_device.type == "cpu":
            values["cost/memory_growth_mb"] = max(0.0, _peak_mb(trainer) - self._baseline_mb)
        if self._energy is not None:
            values["cost/energy_joules"] = self._energy.read() - self._energy_start
            self.tracker.set_tags({"energy_source": self._energy.source})
            self.tracker.record.provenance["energy_source"] = self._energy.source
        flops, inputs = forward_flops(pl_module, self._example), _inputs(self._example)
        if flops is not None and inputs is not None:
            values["cost/flops_forward_per_sample"] = flops / len(inputs)
        self.tracker.log_metrics(values, step_of(trainer))
        self._example = None


def forward_flops(pl_module: LightningModule, batch: Any) -> float | None:
    """Floating-point operations of the forward pass of a training step, None where they cannot be counted.

    Of a module that is no family, those of its `forward`. The pass changes nothing.
    """
    from torch.utils.flop_counter import FlopCounterMode

    if batch is None:
        return None
    counter, family = FlopCounterMode(display=False), family_of(pl_module)
    try:
        with evaluating(pl_module), counter:
            pl_module(_inputs(batch)) if family is None else family.step(batch, "train")
        total = float(counter.get_total_flops())
    except Exception:
        # counting is a courtesy: a forward with other arguments, a custom operator, a compiled graph
        return None
    return total or None


def _few(batch: Any) -> Any:
    """The first samples of a batch, copied."""
    if isinstance(batch, list | tuple):
        return type(batch)(_few(part) for part in batch)
    return batch[:_SAMPLES_FOR_FLOPS].detach().clone() if isinstance(batch, Tensor) else batch


def _settled(values: list[float]) -> float:
    return statistics.median(values[1:] or values)


def _inputs(batch: Any) -> Tensor | None:
    first = batch[0] if isinstance(batch, list | tuple) and batch else batch
    return first if isinstance(first, Tensor) and first.ndim > 0 else None


def _peak_mb(trainer: Trainer) -> float:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # kilobytes on Linux, bytes on macOS (getrusage(2))
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _resident_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return pages * resource.getpagesize() / 2**20
