"""Run by check.sh inside the image: versions, user, caches, compiler."""

import getpass
import importlib.metadata
import json
import os
import re
import sysconfig
import tempfile
from pathlib import Path

import torch


def pins() -> dict[str, str]:
    """Versions that the image's copy of constraints.txt states, by normalised name."""
    lines = Path("/usr/local/share/integrand/constraints.txt").read_text().splitlines()
    stated = (line.split("#")[0].strip() for line in lines)
    return {normal(name): version for name, version in (s.split("==") for s in stated if s)}


def normal(name: str) -> str:
    """The name of a distribution as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# not by the whole path: setuptools, which torch.compile imports, adds what it carries with it
site_packages = [sysconfig.get_path("purelib")]
installed = {
    normal(d.metadata["Name"]): d.version for d in importlib.metadata.distributions(path=site_packages)
}

stated = pins()
unpinned = {n: v for n, v in installed.items() if stated.get(n) != v.partition("+")[0]}
# pip and wheel come with the base image; CUDA's wheels are pinned by torch's own metadata
free = {n: v for n, v in unpinned.items() if n not in {"integrand", "pip", "wheel"}}
free = {
    n: v
    for n, v in free.items()
    if torch.version.cuda is None or not n.startswith(("nvidia-", "cuda-", "triton"))
}
assert not free, f"not pinned by constraints.txt: {free}"

assert os.getuid() == 12345, os.getuid()
assert getpass.getuser() == "integrand"  # torch's compiler asks; without USER an unknown uid is a KeyError
for folder in (Path.home(), Path.cwd(), Path(os.environ["MPLCONFIGDIR"]).parent):
    with tempfile.NamedTemporaryFile(dir=folder):
        pass

compiled = torch.compile(lambda x: x.sin() + 1)
x = torch.linspace(0, 1, 8)
assert torch.allclose(compiled(x), x.sin() + 1)
assert any(Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).iterdir())

listed = json.loads(Path("/usr/local/share/integrand/sbom.cdx.json").read_text())["components"]
missing = set(installed) - {normal(component["name"]) for component in listed}
assert not missing, f"not in the list of what is in the image: {missing}"

import torchdiffeq  # noqa: E402, F401
import torchsde  # noqa: E402, F401

import integrand  # noqa: E402

assert "site-packages" in integrand.__file__
secrets = [p for p in ("/etc/pip.conf", "/run/secrets/pipca.crt") if Path(p).exists()]
assert not secrets, f"left in the image: {secrets}"
print(f"torch {torch.__version__}, {len(stated)} pins, compiler and caches work for uid {os.getuid()}")
