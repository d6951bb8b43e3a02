"""A trained model and its data, from a checkpoint alone."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from ..errors import IntegrandError, UsageError


def model_and_data(checkpoint: str | Path) -> tuple[Any, Any]:
    """The network of a checkpoint in evaluation mode on the CPU, and the data module it was trained with.

    Nothing of the data is read yet.

    Args:
        checkpoint: A .ckpt file that a fit has left; it holds its configuration.

    Raises:
        UsageError: The file is no checkpoint of Integrand, or its weights do not fit its configuration.
    """
    import torch
    import yaml
    from lightning.pytorch import LightningDataModule, Trainer

    import integrand.datamodules
    import integrand.modules
    from integrand.modules.base import FamilyModule

    from . import training
    from .recorded import config_of_checkpoint

    class Build(training.IntegrandCLI):
        """Only data and model of a configuration."""

        def instantiate_trainer(self, **kwargs: Any) -> Any:
            return Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)

    training._quiet()
    training._keep_spec_whole()
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    integrand.modules.load_all()
    integrand.datamodules.load_all()
    whole = yaml.safe_load(config_of_checkpoint(str(checkpoint)))
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "model-and-data.yaml"
        config.write_text(yaml.safe_dump({k: whole[k] for k in ("model", "data")}), encoding="utf-8")
        cli = Build(
            FamilyModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            parser_class=training.Parser,
            load_from_checkpoint_support=False,
            run=False,
            args=["--config", str(config)],
        )
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    try:
        cli.model.load_state_dict(state)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise UsageError(
            f"the weights of {checkpoint} do not fit its configuration: {first}",
            "load it with the version of Integrand that made it",
        ) from error
    return cli.model.eval(), cli.datamodule


def run_of(checkpoint: str | Path) -> str:
    """The id of the run that left a checkpoint; empty where it says none."""
    import torch

    try:
        held = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise IntegrandError(f"{checkpoint} cannot be read: {error}", "name a .ckpt file") from error
    return str(held.get("integrand", {}).get("run_id") or "")
