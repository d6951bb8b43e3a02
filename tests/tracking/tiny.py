"""A training small enough to be run, killed and resumed in a test; also a script: `python tiny.py fit …`."""

import argparse
import logging
import os
import signal
import sys
import time

import torch
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader, TensorDataset

from integrand.datamodules.base import DataModule
from integrand.modules.family import FamilyModule
from integrand.outcome import Outcome
from integrand.solvers import SolveStats
from integrand.spec import Classes, VectorSpec
from integrand.tracking import MLflowTracker, default_callbacks, exit_code

SPEC = VectorSpec("tiny", Classes(3, ("a", "b", "c")), 4)


class TinyModule(FamilyModule):
    """Classifies points with one layer and noise, and says that it solved something twice per batch."""

    group = "continuous"
    takes = (VectorSpec,)

    def __init__(
        self, width: int = 8, lr: float = 0.05, pause: float = 0.0, fail_at: int = -1, nan_at: int = -1
    ):
        super().__init__(SPEC)
        self.family = "tiny"  # of this module alone: a class that names a family is listed
        self.net = torch.nn.Sequential(
            torch.nn.Linear(4, width), torch.nn.Dropout(0.2), torch.nn.ReLU(), torch.nn.Linear(width, 3)
        )
        self.lr, self.pause, self.fail_at, self.nan_at = lr, pause, fail_at, nan_at

    def forward(self, x):
        return self.net(x)

    def step(self, batch, stage):
        x, y = batch
        number = self.trainer.global_step if self._trainer is not None else 0
        said = self(x)
        solves = [
            SolveStats(nfe_forward=10 + number, accepted=3, rejected=1, min_step=0.1, max_step=0.5),
            SolveStats(nfe_forward=1, accepted=1, rejected=0, min_step=0.2, max_step=0.9),
        ]
        if said.requires_grad:
            said.register_hook(lambda _: self._differentiated(solves[0]))
        return Outcome({"loss": self.task.loss(said, y)}, len(x), {}, said.detach(), y, solves, x)

    @staticmethod
    def _differentiated(stats):
        # the backward part of an account fills itself in when the backward pass runs
        stats.nfe_backward, stats.vjps = 7, 5

    def training_step(self, batch, batch_idx):
        time.sleep(self.pause)
        if (
            self.trainer.global_step == self.fail_at
            and self.trainer.global_rank == self.trainer.world_size - 1
        ):
            raise RuntimeError("made to fail")
        outputs = super().training_step(batch, batch_idx)
        if self.trainer.global_step == self.nan_at:
            outputs["loss"] = outputs["loss"] * float("nan")
        return outputs

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)

    def describe_solver(self):
        return "stand-in", "adjoint"

    def trajectory(self, x):
        ts = torch.linspace(0, 1, 5)
        return ts, torch.stack([x * (1 + t) + t * x.roll(1, 1) for t in ts])


class TinyData(DataModule):
    """Three noisy clusters, drawn from a fixed seed; the order of training comes from the global generator."""

    digest = "sha256:" + "0" * 64
    spec = SPEC
    sizes = {"n_train": 96, "n_val": 48, "n_test": 48}  # noqa: RUF012

    def __init__(self, batch_size: int = 16):
        super().__init__()
        self.batch_size = batch_size

    def _set(self, n, seed):
        generator = torch.Generator().manual_seed(seed)
        y = torch.randint(0, 3, (n,), generator=generator)
        x = torch.randn(n, 4, generator=generator) + 2 * torch.nn.functional.one_hot(y, 4)
        return TensorDataset(x, y)

    def train_dataloader(self):
        return DataLoader(self._set(96, 1), batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self._set(48, 2), batch_size=self.batch_size)

    def test_dataloader(self):
        return DataLoader(self._set(48, 3), batch_size=self.batch_size)


def make_trainer(tracker, epochs=2, every=2, **kwargs):
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=tracker,
        callbacks=default_callbacks(),
        log_every_n_steps=every,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **kwargs,
    )


def fit(seed=0, epochs=2, every=2, ckpt_path=None, model=None, trainer_args=None, **tracker_args):
    """One fit in this process; returns its trainer."""
    seed_everything(seed, workers=True, verbose=False)
    model = model or TinyModule()
    trainer = make_trainer(MLflowTracker(**tracker_args), epochs, every, **(trainer_args or {}))
    trainer.fit(model, TinyData(), ckpt_path=ckpt_path)
    return trainer


def main():
    # a shell may have started this with SIGINT ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--fail-at", type=int, default=-1)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--run-id")
    parser.add_argument("--uri")
    parser.add_argument("--ckpt-path")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = TinyModule(pause=args.pause, fail_at=args.fail_at)
    trainer_args = {"devices": 2, "strategy": "ddp"} if args.devices == 2 else {}
    try:
        fit(
            epochs=args.epochs,
            every=args.every,
            model=model,
            ckpt_path=args.ckpt_path,
            trainer_args=trainer_args,
            run_id=args.run_id,
            tracking_uri=args.uri,
            flush_every=0.2,
        )
    except BaseException as error:
        code = exit_code(error)
        if code is None:
            raise
        print(error, file=sys.stderr)
        sys.exit(code)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
