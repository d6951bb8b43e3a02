"""diffusers, which is needed for its own models alone."""

from __future__ import annotations

from types import ModuleType

from integrand.errors import UsageError


def require_diffusers() -> ModuleType:
    """The package.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import diffusers
    except ImportError as error:
        raise UsageError("models of diffusers need it", "pip install 'integrand[diffusers]'") from error
    module: ModuleType = diffusers
    return module
