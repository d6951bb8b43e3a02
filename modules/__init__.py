"""The families: every network that is read as a differential equation, one file each.

A new family is a file in here (or in another package, registered under the entry-point group
`integrand.modules`) with a `FamilyModule` subclass whose `family` is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .family import FamilyModule

__all__ = ["families", "load_all"]


def load_all() -> None:
    """Import every family, so that their class names can be used without a module path."""
    from integrand.registry import import_entry_points, import_package

    import_package(__name__)
    import_entry_points(__name__)


def families() -> list[type[FamilyModule]]:
    """Every registered family, ordered by group and name."""
    from integrand.registry import subclasses

    from .family import FamilyModule

    load_all()
    # lazy_instance makes subclasses of its own; only the class that names the family itself is one
    base: Any = FamilyModule  # mypy refuses abstract classes as values
    found = [c for c in subclasses(base) if c.__dict__.get("family")]
    return sorted(
        found, key=lambda c: (GROUPS.index(c.group) if c.group in GROUPS else len(GROUPS), c.family)
    )


def __getattr__(name: str) -> Any:
    # `from integrand.modules import NeuralODE` without importing torch for `import integrand.modules`
    if name[:1].isupper():
        for family in families():
            if family.__name__ == name:
                return family
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Also every family, by its class name."""
    return sorted({*globals(), *(family.__name__ for family in families())})


GROUPS = (
    "control",
    "discrete",
    "continuous",
    "stochastic",
    "uncertainty",
    "trajectory",
    "series",
    "generative",
)
"""Order of the groups in listings."""
