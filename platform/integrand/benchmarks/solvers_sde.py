"""The stochastic part of `integrand bench solvers`."""

from __future__ import annotations

import argparse

from .solvers_timing import Row


def sde_rows(args: argparse.Namespace) -> list[Row]:
    """Rows of the stochastic solvers."""
    return []
