"""A family's network from a checkpoint alone: its data set is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from integrand.checkpoints import KEY, config_of, read
from integrand.errors import IntegrandError, UsageError
from integrand.moved import with_current_names
from integrand.registry import import_entry_points, import_package
from integrand.spec import Spec
from integrand.trust import check_trusted


def network(
    family: type[Any], path: str | Path, options: dict[str, Any], *, trust: bool, strict: bool
) -> tuple[Any, dict[str, Any]]:
    """The network of a checkpoint, with its weights, and what else the checkpoint holds.

    Args:
        family: The class that is asked for.
        path: A .ckpt file that a fit has left.
        options: Arguments of the constructor in place of the recorded ones.
        trust: Whether its configuration may name classes that are not installed.
        strict: Whether the weights have to be exactly those of the network.

    Raises:
        UsageError: It is no checkpoint of this family, or its weights do not fit its configuration.
    """
    contents = read(path)
    whole = yaml.safe_load(with_current_names(config_of(contents, path)))
    config = whole.get("model") or {}
    if not trust:
        check_trusted(config, str(path))
    spec = contents[KEY].get("spec")
    if not spec:
        raise UsageError(f"{path} is of no family", "load it with the class that made it")
    arguments = {**(config.get("init_args") or {}), **options, "spec": Spec.from_dict(spec)}
    model = _built({**config, "init_args": arguments}, path)
    if not isinstance(model, family):
        name = type(model).__name__
        raise UsageError(
            f"{path} holds a {name}, which is no {family.__name__}",
            f"{name}.load_from_checkpoint, or integrand.load, which takes any",
        )
    try:
        model.load_state_dict(contents["state_dict"], strict=strict)
    except RuntimeError as error:
        first = " ".join(str(error).split())[:200]
        raise UsageError(
            f"the weights of {path} do not fit its configuration: {first}",
            "leave the options out that change the network, or strict=False",
        ) from error
    return model, contents


def _built(config: dict[str, Any], path: str | Path) -> Any:
    from jsonargparse import ArgumentError, set_parsing_settings
    from lightning.pytorch import LightningModule
    from lightning.pytorch.cli import LightningArgumentParser

    set_parsing_settings(subclasses_enabled=[Spec])  # a spec is one object
    import_package(__package__)
    import_entry_points(__package__)
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_lightning_class_args(LightningModule, "model", subclass_mode=True)
    try:
        return parser.instantiate(parser.parse_object({"model": config})).model
    except (ArgumentError, KeyError, ValueError, TypeError) as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, IntegrandError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from error
        raise UsageError(
            f"the network of {path} cannot be built: {' '.join(str(error).split())[:300]}",
            "load it with the version of Integrand that made it",
        ) from error
