#!/usr/bin/env python3
"""`make docker-lock`: what the images install, to the file, from pyproject.toml and constraints.txt.

Needs uv and a package index. Writes hashes of every file that PyPI has of a release, for Linux on x86-64 with
glibc; the Dockerfile installs with `--require-hashes`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

DOCKER = Path(__file__).resolve().parent
EXTRAS = ("gpu", "sweep", "ot")
TRACKING = ("mlflow[auth]", "psycopg2-binary", "boto3")
SBOM = ("cyclonedx-bom>=7",)
_CUDA = re.compile(r"(torch|triton|cuda-[\w-]+|nvidia-(?!ml-py)[\w-]+)==")
"""What only the index of torch's CUDA build has: another build brings its own."""


def requirements() -> list[str]:
    """What the package and the image's extras ask for."""
    project = tomllib.loads((DOCKER.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(r for e in EXTRAS for r in project["optional-dependencies"][e])]


def compiled(wanted: list[str]) -> list[str]:
    """Releases with their hashes, one block of lines each, sorted by name."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "-", "--quiet"]
    command += ["--generate-hashes", "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--strip-extras"]
    command += ["--constraint", str(DOCKER.parent / "constraints.txt")]
    done = subprocess.run(command, input="\n".join(wanted), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return re.split(r"\n(?=\w)", done.stdout.strip())


def write(name: str, blocks: list[str]) -> None:
    """Write a lock file."""
    path = DOCKER / name
    path.write_text("\n".join(["# Made by `make docker-lock`; do not edit.", *blocks, ""]), encoding="utf-8")
    print(f"docker/{name}: {len(blocks)} packages")


def main() -> None:
    """Write all of them."""
    image = compiled(requirements())
    write("torch-cuda.lock", [b for b in image if _CUDA.match(b)])
    write("requirements.lock", [b for b in image if not _CUDA.match(b)])
    write("tracking.lock", compiled(list(TRACKING)))
    write("sbom.lock", compiled(list(SBOM)))


if __name__ == "__main__":
    main()
