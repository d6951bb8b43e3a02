"""Typed solver failures: each says where the solve stood and what to try."""

from __future__ import annotations

from integrand.errors import IntegrandError, UsageError


class SolverError(IntegrandError):
    """A solve failed.

    Args:
        message: What happened, naming t, step size, error ratio and NFE where they are known.
        remedy: What to try.
    """


class MaxNFEError(SolverError):
    """The solve used up its budget of function evaluations."""


class StepUnderflowError(SolverError):
    """The adaptive step became smaller than the resolution of t."""


class NonFiniteStateError(SolverError):
    """The state or the field became NaN or infinite."""


class SolverOptionError(UsageError):
    """An unknown method, or an option that the chosen method does not take."""
