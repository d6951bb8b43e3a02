"""A trained model and its data, from a run or a checkpoint alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from .checkpoints import config_of, read
from .errors import IntegrandError, UsageError
from .moved import with_current_names
from .trust import check_trusted

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule

__all__ = ["load"]


def load(
    which: str | Path, checkpoint: str = "best", tracking_uri: str | None = None, *, trust: bool = False
) -> tuple[LightningModule, LightningDataModule]:
    """The network of a run or checkpoint in evaluation mode on the CPU, and the data it was trained on.

    Nothing of the data is read yet; `data.prepare_data()` and `data.setup()` do that.

    Args:
        which: A .ckpt file that a fit has left, or a run: its id, the first letters of it, its name, or
            `latest`.
        checkpoint: Which checkpoint of a run, `best` or `last`.
        tracking_uri: Store of the runs; None takes the default.
        trust: Whether the configuration inside may name classes that are not installed, such as those of
            files in the working directory: importing them runs them.

    Raises:
        UsageError: The file is no checkpoint, damaged or another run's, or its weights do not fit its
            configuration.
        TrackingError: There is no such run, or it has no checkpoint.
    """
    path = Path(which)
    if path.suffix != ".ckpt":
        path = _checkpoint_of(str(which), checkpoint, tracking_uri)
    contents = read(path)
    config = config_of(contents, path)
    if not trust:
        check_trusted(yaml.safe_load(config), str(path))
    model, data = build(config)
    try:
        model.load_state_dict(contents["state_dict"])
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise UsageError(
            f"the weights of {path} do not fit its configuration: {first}",
            "load it with the version of Integrand that made it",
        ) from error
    return model.eval(), data


def build(config: str) -> tuple[LightningModule, LightningDataModule]:
    """The untrained model and the data module of a recorded configuration.

    Args:
        config: The configuration as YAML, with the sections `model` and `data`.

    Raises:
        UsageError: It names a class or an option that does not exist.
    """
    from jsonargparse import ArgumentError, set_parsing_settings
    from lightning.pytorch import LightningDataModule, LightningModule
    from lightning.pytorch.cli import LightningArgumentParser

    import integrand.datamodules
    import integrand.modules

    from .spec import Spec

    # a spec is one object: jsonargparse would ask for each field of a dataclass
    set_parsing_settings(subclasses_enabled=[Spec])
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    integrand.modules.load_all()
    integrand.datamodules.load_all()
    whole = yaml.safe_load(with_current_names(config))
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    parser.add_lightning_class_args(LightningDataModule, "data", subclass_mode=True)
    parser.link_arguments("data.spec", "model.init_args.spec", apply_on="instantiate")
    try:
        built: Any = parser.instantiate(parser.parse_object({k: whole[k] for k in ("model", "data")}))
    except (ArgumentError, KeyError, ValueError) as error:
        raise _refused(error) from error
    return built.model, built.data


def _checkpoint_of(which: str, checkpoint: str, tracking_uri: str | None) -> Path:
    from .tracking.store import runs

    if checkpoint not in ("best", "last"):
        raise UsageError(f"no checkpoint {checkpoint!r} of a run", "take best or last")
    run = runs.find_trained(which, tracking_uri)
    return runs.checkpoint(run, checkpoint)  # type: ignore[arg-type]


def _refused(error: Exception) -> IntegrandError:
    """What a constructor refused as it said it; jsonargparse wraps it once per alternative it tried."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, IntegrandError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return UsageError(
        f"the recorded configuration cannot be built: {' '.join(str(error).split())[:300]}",
        "load it with the version of Integrand that made it",
    )
