"""A trained network as a registered MLflow model that answers for itself: `integrand promote`."""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch

from .errors import DataError, UsageError
from .modules.family import FamilyModule
from .modules.from_checkpoint import network
from .served import answered
from .spec import ImageSpec, VectorSpec

FOLDER = "model"
"""Where the model lies among the artifacts of its run."""
_PINNED = ("integrand", "torch", "lightning", "jsonargparse", "torchmetrics", "numpy", "mlflow")
_ROWS = 3


def promote(checkpoint: Path, run: Any, name: str, alias: str | None, *, trust: bool = False) -> str:
    """Log the network of a checkpoint as a model of its run, and register it.

    Args:
        checkpoint: A .ckpt file of the run.
        run: Handle of the run.
        name: Name of the registered model; made if missing, else this is its next version.
        alias: Alias that the version gets, such as `champion`.
        trust: Whether its configuration may name classes that are not installed.

    Returns:
        The version.

    Raises:
        UsageError: The network is none that answers for arrays of inputs.
    """
    model, _ = network(FamilyModule, checkpoint, {}, trust=trust, strict=True)
    spec = model.spec
    if not isinstance(spec, ImageSpec | VectorSpec) or model.models != "outputs":
        raise UsageError(
            f"{type(model).__name__} on {spec.kind}s does not answer for arrays of inputs",
            "models of images and vectors that classify or regress can be served",
        )
    example = _example(checkpoint, model, trust)
    mlflow.set_tracking_uri(run.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="integrand-") as folder:
        mlflow.pyfunc.save_model(
            str(Path(folder) / FOLDER),
            python_model=str(Path(__file__).with_name("served.py")),
            artifacts={"checkpoint": str(checkpoint)},
            signature=mlflow.models.infer_signature(example, answered(model.eval(), example)),
            input_example=example,
            pip_requirements=list(requirements()),
            code_paths=list(_own_files(model)) or None,
        )
        client = mlflow.MlflowClient(run.tracking_uri)
        client.log_artifacts(run.run_id, str(Path(folder) / FOLDER), FOLDER)
    registered = mlflow.register_model(f"runs:/{run.run_id}/{FOLDER}", name, await_registration_for=60)
    if alias:
        client.set_registered_model_alias(name, alias, registered.version)
    return str(registered.version)


def requirements() -> Iterator[str]:
    """What serving needs, at the versions that are installed here."""
    for package in _PINNED:
        try:
            yield f"{package}=={version(package)}"
        except PackageNotFoundError:
            continue  # run from a source tree that is not installed


def _example(checkpoint: Path, model: FamilyModule, trust: bool) -> np.ndarray[Any, Any]:
    """Some inputs of the test set; zeros where the data set is not here."""
    from .loading import load

    try:
        data = load(checkpoint, trust=trust)[1]
        data.prepare_data()
        data.setup("test")
        inputs = next(iter(data.test_dataloader()))[0][:_ROWS]
        return np.asarray(inputs.numpy(), dtype=np.float32)
    except (DataError, UsageError, OSError):
        return np.zeros((_ROWS, *model.spec.input_shape), dtype=np.float32)


def _own_files(model: torch.nn.Module) -> Iterator[str]:
    """Files of classes that are not installed: they travel with the model."""
    here = Path.cwd().resolve()
    for module in dict.fromkeys(type(part).__module__ for part in model.modules()):
        file = inspect.getsourcefile(sys.modules[module]) if module in sys.modules else None
        root = module.partition(".")[0]
        if file and Path(file).resolve().is_relative_to(here) and root != "integrand":
            top = here / root
            yield str(top if top.is_dir() else Path(file))
