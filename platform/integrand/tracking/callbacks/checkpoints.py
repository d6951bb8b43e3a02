"""Two checkpoints per run, `best.ckpt` and `last.ckpt`, and what they hold beside the weights."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from integrand.checkpoints import KEY, verify

from ..store import names
from .base import TrackingCallback, gathered_objects, tracker_of
from .budget import ends_in_mid_epoch
from .described import family_of, monitor_of

log = logging.getLogger(__name__)


class _RunCheckpoint(ModelCheckpoint):
    """Writes straight into the run's own folder, also looked up there before `setup`."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Choose the folder."""
        self._choose_folder(trainer)
        super().setup(trainer, pl_module, stage)

    def _choose_folder(self, trainer: Trainer) -> None:
        tracker = tracker_of(trainer)
        if tracker is not None and tracker.checkpoint_dir is not None:
            self.dirpath = str(tracker.checkpoint_dir)

    def _find_last_checkpoints(self, trainer: Trainer) -> set[str]:
        # `ckpt_path="last"` is resolved before `setup`, so before processes can talk to each other
        self._choose_folder(trainer)
        tracker = tracker_of(trainer)
        if tracker is not None and (last := tracker.last_checkpoint()) is not None:
            return {str(last)}
        return super()._find_last_checkpoints(trainer) if self.dirpath is not None else set()

    def _save_beside(self, trainer: Trainer, target: Path, beside: Path) -> None:
        """Write under another name: Lightning copies where the temporary folder is on another disk."""
        super()._save_checkpoint(trainer, str(beside))
        self._last_checkpoint_saved = str(target)

    # Lightning warns that the folder of a resumed run is not empty; here it never is
    def _ModelCheckpoint__warn_if_dir_not_empty(self, dirpath: Any) -> None:
        pass


class BestCheckpoint(_RunCheckpoint):
    """Keeps `best.ckpt`: the epoch at which the module's `monitor` was best.

    Args:
        monitor: The metric; by default the module's own.
        mode: `min` or `max`; by default the module's own.
    """

    def __init__(self, monitor: str | None = None, mode: str | None = None) -> None:
        super().__init__(
            filename="best", monitor=monitor, mode=mode or "min", auto_insert_metric_name=False, save_top_k=1
        )
        self._given = (monitor, mode)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take monitor and mode from the module where they were not given."""
        name, mode = monitor_of(pl_module)
        self.monitor = self._given[0] or name
        self.mode = self._given[1] or mode
        if not self.best_k_models:
            self.kth_value = torch.tensor(torch.inf if self.mode == "min" else -torch.inf)
        super().setup(trainer, pl_module, stage)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        target = Path(filepath)
        part = target.with_suffix(".part")
        self._save_beside(trainer, target, part)
        if trainer.is_global_zero:
            part.replace(target)

    @property
    def state_key(self) -> str:
        """One per run: the monitor is known only after Lightning has compared the keys."""
        return "BestCheckpoint"

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if the monitor improved; a module that does not log it keeps its last checkpoint only."""
        if self.monitor in trainer.callback_metrics and not (
            self.best_model_path and ends_in_mid_epoch(trainer)
        ):
            super().on_validation_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise, without validation."""
        if self.monitor in trainer.callback_metrics and not (
            self.best_model_path and ends_in_mid_epoch(trainer)
        ):
            super().on_train_epoch_end(trainer, pl_module)


class LastCheckpoint(_RunCheckpoint):
    """Keeps `last.ckpt`, written at the end of every epoch: the state from which a fit is resumed.

    Lightning's `save_last` writes only when the best checkpoint changes, so it may lie many epochs back. It
    also logs the values of an epoch after its checkpoint is written: a process killed between the two would
    go on from an epoch whose values nobody has. So the file takes its name when they have been logged.

    Args:
        every_n_epochs: Write after so many epochs.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        super().__init__(
            filename=self.CHECKPOINT_NAME_LAST,
            monitor=None,
            save_top_k=1,
            every_n_epochs=every_n_epochs,
            save_on_train_epoch_end=True,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )
        self._unnamed: Path | None = None
        """Where the checkpoint of the last epoch is to be, while it has another name."""
        self._completed = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, unless a budget ends the fit in mid-epoch: one resumes from whole epochs only."""
        if not ends_in_mid_epoch(trainer):
            super().on_train_epoch_end(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The values of the epoch before have been logged."""
        self.settle(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Likewise, after the last epoch."""
        self.settle(trainer)
        super().on_train_end(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Likewise, if it came between two epochs; if it came before, the checkpoint before stays."""
        super().on_exception(trainer, pl_module, exception)
        self.settle(trainer)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        self._completed = trainer.fit_loop.epoch_progress.current.completed
        self._unnamed = Path(filepath)
        self._save_beside(trainer, self._unnamed, _unnamed(self._unnamed))

    def settle(self, trainer: Trainer) -> None:
        """Give the newest checkpoint its name, or take it away if the values of its epoch were not logged."""
        target, self._unnamed = self._unnamed, None
        if target is None or not trainer.is_global_zero or not (source := _unnamed(target)).exists():
            return
        if trainer.fit_loop.epoch_progress.current.completed > self._completed:
            source.replace(target)
        else:
            source.unlink()

    @property
    def state_key(self) -> str:
        """One per run."""
        return "LastCheckpoint"


def _unnamed(path: Path) -> Path:
    return path.with_suffix(".unlogged")


class CheckpointContents(TrackingCallback):
    """Puts configuration, data spec, run id and random state into every checkpoint.

    The random state, of every process, makes a resumed fit equal to an uninterrupted one if it resumes from
    `last.ckpt`, the end of an epoch, on as many processes. Everything is of plain types, so that
    `torch.load(weights_only=True)` reads it.
    """

    def __init__(self) -> None:
        self.config_text = ""
        self._rng: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look whether the checkpoint to be loaded is whole."""
        super().setup(trainer, pl_module, stage)
        if trainer.ckpt_path:
            verify(trainer.ckpt_path)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add `checkpoint["integrand"]`."""
        family = family_of(pl_module)
        states = gathered_objects(trainer, random_state(trainer))
        checkpoint[KEY] = {
            "config": self.tracker.config_text if self.tracker else "",
            "spec": family.spec.to_dict() if family is not None else {},
            "run_id": (self.tracker.run_id if self.tracker else None) or "",
            "family": family.family if family is not None else "",
            "rng": states[0],
            # of the other processes, by rank; empty where there is one
            "rng_others": states[1:],
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Remember the random state of a fit that is resumed."""
        if trainer.state.fn != "fit":
            return
        own = checkpoint.get(KEY, {})
        states = [own.get("rng"), *own.get("rng_others", [])]
        if len(states) == trainer.world_size:
            self._rng = states[trainer.global_rank]
        elif trainer.is_global_zero:
            log.warning(
                "this fit began on %d processes and goes on on %d: noise is drawn anew from here",
                len(states),
                trainer.world_size,
            )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put it back at the place of the epoch at which it was taken, and draw the order of the data anew.

        Lightning makes the iterator of a resumed epoch before this hook, from another random state.
        """
        state, self._rng = self._rng, None
        if state is None:
            return
        restore_random_state(state)
        fetcher = getattr(trainer.fit_loop, "_data_fetcher", None)
        if fetcher is not None:
            iter(fetcher)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send the checkpoints to an artifact store that is not a local folder."""
        self._upload(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Likewise, so that a run that failed can be resumed elsewhere."""
        self._upload(trainer)

    def _upload(self, trainer: Trainer) -> None:
        # Lightning puts callbacks that save checkpoints behind all others
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, LastCheckpoint):
                callback.settle(trainer)
        tracker = self.tracker
        session = tracker.session if tracker else None
        if tracker is None or session is None or session.artifact_dir is not None:
            return
        for name in ("best", "last"):
            file = Path(session.checkpoint_dir) / f"{name}.ckpt"
            if file.exists():
                tracker.log_checkpoint(file, f"{names.CHECKPOINT_DIR}/{name}.ckpt")


def random_state(trainer: Trainer) -> dict[str, Any]:
    """The state of Python's, NumPy's and PyTorch's global generators, in plain types."""
    version, internal, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - the global state is what is meant
    state: dict[str, Any] = {
        "python": [version, list(internal), gauss],
        "numpy": [
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
    }
    if trainer.strategy.root_device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(trainer.strategy.root_device)
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """The inverse of `random_state`."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
