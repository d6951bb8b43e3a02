"""What can go wrong between a model, a process, a time grid and a sampler, said for people."""

from __future__ import annotations

from integrand.errors import IntegrandError, UsageError


class IncompatibleError(UsageError):
    """A sampler does not apply to a process or a parametrisation, or a model not to a process."""


class BudgetError(UsageError):
    """The number of evaluations or steps asked for is below what a sampler needs, or cannot be chosen."""


class GuidanceError(UsageError):
    """Guidance or a condition was asked of a model that knows no conditions, or the condition is missing."""


class GridError(UsageError):
    """A time grid does not fit the process."""


class NonFiniteSamplesError(IntegrandError):
    """Some samples became NaN or infinite; the others are kept in the result."""
