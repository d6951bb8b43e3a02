"""The options that name a trained model, and what they name."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import loading
from ..checkpoints import read, run_of
from ..errors import TrackingError, UsageError


@dataclass
class Trained:
    """A trained model.

    Args:
        model: The module, in evaluation mode, on its device.
        data: Its data module.
        checkpoint: Where it was read from.
        run_id: The run that trained it; empty where unknown.
    """

    model: Any
    data: Any
    checkpoint: Path
    run_id: str


def add_source(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """The options that say which model, and where it works; gives the group of those that name it."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--ckpt", metavar="FILE", help="a .ckpt file that a fit has left")
    which.add_argument("--run", metavar="ID", help="a run id or its first letters, a run name, or latest")
    parser.add_argument(
        "--trust", action="store_true", help="its configuration may name classes that are not installed"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="default: MLFLOW_TRACKING_URI or sqlite:///mlflow.db"
    )
    return which


def load(args: argparse.Namespace) -> Trained:
    """The model that `--ckpt` or `--run` names.

    Raises:
        UsageError: It does not exist.
        TrackingError: There is no such run, or it has no checkpoint.
    """
    import torch

    if args.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = args.tracking_uri
    if args.run:
        from .recorded import recorded_run

        try:
            found = recorded_run(args.run, "best")
        except TrackingError:
            # a fit that was never validated has no best checkpoint
            found = recorded_run(args.run, "last")
        assert found.checkpoint is not None
        checkpoint, run_id = found.checkpoint, found.run_id
    else:
        checkpoint = Path(args.ckpt)
        run_id = run_of(read(checkpoint))
    model, data = loading.load(checkpoint, trust=args.trust)
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"--device {device}: {first}", "integrand doctor lists the devices") from error
    return Trained(model, data, checkpoint, run_id)
