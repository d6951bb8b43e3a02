"""`python -m integrand` is the same program as `integrand`."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
