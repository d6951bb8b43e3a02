"""What earlier versions wrote and what it means now: class paths, names and defaults that changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

_IMAGE = "integrand.modules.bench.image"
_MODULES = {
    "integrand.modules.classification.layout": f"{_IMAGE}.shared",
    "integrand.modules.classification.cifar": f"{_IMAGE}.cifar",
    "integrand.modules.classification.image_state": f"{_IMAGE}.image_state",
    "integrand.modules.classification.reversible_stages": f"{_IMAGE}.reversible_stages",
    "integrand.modules.classification.shake_stages": f"{_IMAGE}.shake_stages",
}
_EVALUATIONS = {"sensitivity": "solver"}
_OLD = re.compile("|".join(re.escape(name) + r"(?=\.)" for name in _MODULES))


def with_current_names(config: str) -> str:
    """The text of a configuration in which classes that have moved bear their present paths."""
    return _OLD.sub(lambda found: _MODULES[found[0]], config)


def current_evaluation(name: str | None) -> str | None:
    """The present name of an evaluation that a run was recorded with, or that a command line names."""
    return name if name is None else _EVALUATIONS.get(name, name)


def with_former_defaults(config: str, spec: Mapping[str, Any]) -> str:
    """The text of a recorded configuration, with defaults of its time that are others now written out.

    The head of the shared bench for images had a group norm before it could be chosen.

    Args:
        config: The configuration that a checkpoint holds.
        spec: What the checkpoint holds of its data set.
    """
    whole = yaml.safe_load(config)
    options = (whole.get("model") or {}).get("init_args") or {}
    of_images = len(spec.get("input_shape", ())) == 3
    if not of_images or "downsample" not in options or "head" in options or options.get("layout"):
        return config
    options["head"] = "group"
    return yaml.safe_dump(whole, sort_keys=False)
