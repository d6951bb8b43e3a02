"""What a module and its data say of themselves; whatever a stranger does not declare is left out."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule

from integrand.modules.family import FamilyModule
from integrand.outcome import Outcome


def family_of(pl_module: LightningModule) -> FamilyModule | None:
    """The module as a family, None where it is somebody's own."""
    return pl_module if isinstance(pl_module, FamilyModule) else None


def outcome_of(outputs: Any) -> Outcome | None:
    """The outcome of a step from what Lightning hands to callbacks, None where a module returns another."""
    found = outputs.get("outcome") if isinstance(outputs, dict) else None
    return found if isinstance(found, Outcome) else None


def monitor_of(pl_module: LightningModule) -> tuple[str, str]:
    """The metric that chooses the best epoch, and `min` or `max`; of a stranger the smallest `val/loss`."""
    family = family_of(pl_module)
    return ("val/loss", "min") if family is None else (family.monitor, family.monitor_mode)
