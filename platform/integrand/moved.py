"""Class paths of configurations that earlier versions recorded, and where the classes are now."""

from __future__ import annotations

import re

_IMAGE = "integrand.modules.bench.image"
_MODULES = {
    "integrand.modules.classification.layout": f"{_IMAGE}.shared",
    "integrand.modules.classification.cifar": f"{_IMAGE}.cifar",
    "integrand.modules.classification.image_state": f"{_IMAGE}.image_state",
    "integrand.modules.classification.reversible_stages": f"{_IMAGE}.reversible_stages",
    "integrand.modules.classification.shake_stages": f"{_IMAGE}.shake_stages",
}
_OLD = re.compile("|".join(re.escape(name) + r"(?=\.)" for name in _MODULES))


def with_current_names(config: str) -> str:
    """The text of a configuration in which classes that have moved bear their present paths."""
    return _OLD.sub(lambda found: _MODULES[found[0]], config)
