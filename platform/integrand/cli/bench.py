"""`integrand bench NAME`: dispatches to `integrand.benchmarks.NAME`."""

from __future__ import annotations

import importlib
import pkgutil

from integrand import benchmarks
from integrand.errors import UsageError

from ..suggest import did_you_mean
from .parser import Parser


def names() -> list[str]:
    """Benchmarks by module name; modules with an underscore are parts of others."""
    return sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if "_" not in m.name)


def run(argv: list[str]) -> int:
    """Run one benchmark.

    Args:
        argv: Its name and options, without `integrand bench`.

    Returns:
        Exit code.

    Raises:
        UsageError: There is no benchmark of that name.
    """
    known = names()
    parser = Parser(prog="integrand bench", description="Measure what the platform costs.")
    parser.add_argument("name", choices=known, help="what to measure")
    if not argv or argv[0] in {"-h", "--help"}:
        parser.parse_args(argv or ["--help"])
    if argv[0] not in known:
        raise UsageError(
            f"no benchmark {argv[0]!r}{did_you_mean(argv[0], known)}", f"choose from {', '.join(known)}"
        )
    module = importlib.import_module(f"integrand.benchmarks.{argv[0]}")
    parser = Parser(prog=f"integrand bench {argv[0]}", description=module.__doc__)
    module.add_arguments(parser)
    code: int = module.run(parser.parse_args(argv[1:]))
    return code
