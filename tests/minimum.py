"""Prints the lower bounds of pyproject.toml as exact versions: constraints for `make test-minimum`."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BOUND = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)")


def floors():
    """`name==version` of every requirement of the package itself; tools and extras stay free."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [f"{found[1]}=={found[2]}" for line in project["dependencies"] if (found := _BOUND.match(line))]


if __name__ == "__main__":
    print("\n".join(floors()))
