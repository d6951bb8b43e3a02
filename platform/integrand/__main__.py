"""`integrand`, and `python -m integrand`, which is the same program."""

import sys


def main() -> int:
    """Run the program; see `cli.main`. While that is imported, too, Ctrl-C is answered in one line."""
    try:
        from .cli.main import main as program

        return program()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
