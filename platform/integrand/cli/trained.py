"""The options that name a trained model, and what they name."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import loading
from ..checkpoints import read, run_of
from ..errors import TrackingError, UsageError

DTYPES = ("float32", "float16", "bfloat16")


@dataclass
class Trained:
    """A trained model.

    Args:
        model: The module, in evaluation mode, on its device.
        data: Its data module.
        checkpoint: Where it was read from.
        run_id: The run that trained it; empty where unknown, or where it was trained elsewhere.
    """

    model: Any
    data: Any
    checkpoint: Path
    run_id: str

    @property
    def unrecorded(self) -> str:
        """Why what is found of it has no run to be recorded with."""
        if not self.run_id and not self.checkpoint.is_file():
            return "the model was trained elsewhere"
        return "the tracking store does not know the run that left this checkpoint"


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


def add_pretrained(parser: argparse.ArgumentParser, which: argparse._MutuallyExclusiveGroup) -> None:
    """The options that name a model of diffusers."""
    which.add_argument(
        "--pretrained",
        metavar="DIR",
        help="a folder that diffusers' save_pretrained wrote, or a model of the hub: owner/name",
    )
    parser.add_argument(
        "--data", metavar="NAME", help="of --pretrained: data to compare with, a preset, YAML file or class"
    )
    parser.add_argument("--dtype", choices=DTYPES, help="of --pretrained: dtype of the weights")
    parser.add_argument(
        "--condition", metavar="FILE", help="of --pretrained: text embeddings, dealt out in turn; a .pt file"
    )
    parser.add_argument(
        "--null", metavar="FILE", help="of --pretrained: the empty text's embedding, which guidance needs"
    )


def load(args: argparse.Namespace) -> Trained:
    """The model that `--ckpt`, `--run` or `--pretrained` names.

    Raises:
        UsageError: It does not exist.
        TrackingError: There is no such run, or it has no checkpoint.
    """
    import torch

    if args.tracking_uri:
        os.environ["MLFLOW_TRACKING_URI"] = args.tracking_uri
    elsewhere = getattr(args, "pretrained", None)
    if given := [
        n for n in ("data", "dtype", "condition", "null") if not elsewhere and getattr(args, n, None)
    ]:
        raise UsageError(
            f"--{given[0]} belongs to --pretrained", "a run or checkpoint says by itself what it is"
        )
    if elsewhere:
        model, data = _pretrained(args)
        checkpoint, run_id = Path(elsewhere), ""
    elif args.run:
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
    if not elsewhere:
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


def _pretrained(args: argparse.Namespace) -> tuple[Any, Any]:
    """A model of diffusers, and the data set that it is compared with, None where none is named.

    Of the hub only safetensors are read: other weights are pickles, which can run code.

    Raises:
        UsageError: Nothing lies there, or the data are no images of its shape.
    """
    import torch

    from integrand.datamodules.acquire.fetch import offline
    from integrand.diffusion.pretrained import load_diffusers
    from integrand.modules.generative.encoders import DiffusersVAE
    from integrand.modules.generative.pretrained import PretrainedDiffusion

    folder = Path(args.pretrained)
    hub: dict[str, Any] = {} if folder.is_dir() else {"use_safetensors": True, "local_files_only": offline()}
    if hub and not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", args.pretrained):
        raise UsageError(
            f"there is no folder {folder}",
            "name one that save_pretrained wrote, or a model of the hub: owner/name",
        )
    dtype = getattr(torch, args.dtype) if args.dtype else None
    null, conditions = _tensor(args.null), _tensor(args.condition)
    found = load_diffusers(args.pretrained, dtype=dtype, null=null, **hub)
    name = args.pretrained if hub else folder.resolve().name
    encoder = DiffusersVAE(args.pretrained) if (folder / "vae").is_dir() else None
    model = PretrainedDiffusion(found, name, conditions, encoder=encoder).eval()
    return model, None if args.data is None else _images(args.data, model.spec.input_shape)


def _images(name: str, shape: tuple[int, ...]) -> Any:
    """A data set of images of that shape, scaled to [−1, 1]."""
    from lightning.pytorch import LightningDataModule

    import integrand.datamodules

    from ..evaluations.named import Named

    integrand.datamodules.load_all()
    data: Any = Named(LightningDataModule, name, "data", {"normalise": "symmetric"}).make()
    if data.spec.input_shape != shape:
        raise UsageError(
            f"the model makes samples {shape}, and {name} holds {data.spec.input_shape}",
            "name a data set of its shape",
        )
    return data


def _tensor(path: str | None) -> Any:
    """The tensor of a file; None where none is named.

    Raises:
        UsageError: It holds no tensor.
    """
    import torch

    if path is None:
        return None
    try:
        held = torch.load(path, weights_only=True)
    except Exception as error:  # zipfile, pickle and torch each raise their own
        raise UsageError(f"{path}: {' '.join(str(error).split())[:200]}", "write it by torch.save") from error
    if not isinstance(held, torch.Tensor):
        raise UsageError(f"{path} holds a {type(held).__name__}, no tensor", "write one by torch.save")
    return held
