"""What a fit says at its end: how good, at what cost, where everything is, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from ..record import RunRecord
from ..tracking.callbacks.base import tracker_of
from ..tracking.store.uris import redact
from .runs import LETTERS, spelled


class Ending(Callback):
    """Says how to go on where a fit is interrupted, and knows whether it had anything to do."""

    def __init__(self) -> None:
        self.trained = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """There is something to train."""
        self.trained = True

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """One line, where there is a run to go on with."""
        logger = tracker_of(trainer)
        interrupted = isinstance(exception, KeyboardInterrupt | SystemExit)
        if interrupted and trainer.training and trainer.is_global_zero and logger is not None:
            print(f"\ninterrupted: integrand fit --resume {str(logger.run_id)[:LETTERS]} goes on", flush=True)


def summary(record: RunRecord, folder: str | None, store: str) -> str:
    """The block of lines.

    Args:
        record: What the run recorded.
        folder: Its folder on the local disk, None where it has none.
        store: Address of the tracking store that it is in.
    """
    short = record.run_id[:LETTERS]
    rows = [
        ("run", f"{record.run_name}  (--run {short})  {record.status}"),
        ("best", _values(record, "best")),
        ("last", _values(record, "final")),
        ("cost", ", ".join(_cost(record))),
        ("figures", f"{len(record.figures)} in {folder}/figures" if folder and record.figures else ""),
        ("store", f"{redact(store)}, experiment {record.experiment}: integrand ui"),
    ]
    tested = any(name.startswith("final/test_") for name in record.metrics)
    rows.append(("next", f"integrand {'predict' if tested else 'test'} --run {short}"))
    rows.append(("", f"integrand compare --experiment {record.experiment}"))
    if record.status != "FINISHED":
        rows.append(("", f"integrand fit --resume {short}"))
    return "\n".join(f"{name:<8} {text}" for name, text in rows if text)


def _values(record: RunRecord, moment: str) -> str:
    """The headline quantity first, then what was tested; a share as per cent."""
    headline = record.monitor.get("name", "")
    wanted = [f"{moment}/{headline.replace('/', '_')}"]
    if moment == "final":
        tested = f"final/{headline.replace('val/', 'test_')}"
        wanted += [tested, *(n for n in ("final/test_acc", "final/test_loss") if n != tested)]
    shown = [f"{_name(n)} {spelled(n, record.metrics[n])}" for n in wanted if n in record.metrics]
    epoch = record.metrics.get("best/epoch")
    if shown and moment == "best" and epoch is not None:
        shown.append(f"epoch {epoch + 1:.0f} of {record.metrics.get('basics/total_epochs', 0):.0f}")
    return ", ".join(shown)


def _name(name: str) -> str:
    return name.split("/", 1)[1].replace("_", "/", 1)


def _cost(record: RunRecord) -> Iterator[str]:
    metrics, cost = record.metrics, record.cost
    if "solver/nfe_forward" in metrics:
        backward = metrics.get("solver/nfe_backward", 0.0)
        yield f"NFE {metrics['solver/nfe_forward']:.4g} forward, {backward:.4g} backward"
    if "parameters" in cost:
        yield f"{cost['parameters']:,.0f} parameters"
    if "fit_seconds" in cost:
        yield f"{cost['fit_seconds']:.3g} s"


def print_summary(trainer: Any) -> None:
    """Print the block of the fit that a trainer has ended, where it was recorded."""
    logger = tracker_of(trainer)
    if trainer.is_global_zero and logger is not None and logger.record.run_id:
        if any(isinstance(c, Ending) and not c.trained for c in trainer.callbacks):
            short = str(logger.run_id)[:LETTERS]
            print(
                f"nothing was left to train: {trainer.current_epoch} epochs are done; "
                f"integrand fit --resume {short} --trainer.max_epochs {trainer.current_epoch + 10} goes on"
            )
        print(f"\n{summary(logger.record, logger.save_dir, logger.tracking_uri)}", flush=True)
