"""The wheel holds the linked folders as real files and runs from a place of its own."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ["pyproject.toml", "README.md", "LICENSE", "platform", "modules", "datamodules", "configs"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            leftovers = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=leftovers)
        else:
            shutil.copy(ROOT / name, source / name)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(source),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("integrand-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_linked_folders_are_real_files(unpacked):
    package = unpacked / "integrand"
    for path in (
        "modules/continuous/neural_ode.py",
        "datamodules/embedded/fashion-mini.npz",
        "datamodules/embedded/LICENSE.fashion-mnist",
        "datamodules/embedded/japanese-vowels.npz",
        "datamodules/embedded/LICENSE.japanese-vowels",
        "configs/base.yaml",
        "configs/suite/quickstart.yaml",
        "configs/recipe/fashion_mini.yaml",
        "report/templates/report.html.j2",
        "report/assets/page.css",
        "report/assets/page.js",
        "report/assets/fonts/source-sans-3-latin-wght-normal.woff2",
        "report/assets/fonts/LICENSE.fonts",
        "py.typed",
    ):
        assert (package / path).is_file(), path
    assert not list(unpacked.glob("modules")), "a generic name would land in site-packages"
    assert not list(unpacked.glob("platform")), "it would hide the standard library's module"


@pytest.mark.slow
def test_the_wheel_finds_its_own_configs_and_data(unpacked, tmp_path):
    script = (
        "import integrand, sys; from integrand.cli.main import main; "
        f"assert integrand.__file__.startswith({str(unpacked)!r}), integrand.__file__; "
        "sys.exit(main(sys.argv[1:]))"
    )
    options = ["fit", "--recipe", "fashion_mini", "--model", "no_block", "--data.train_limit", "128"]
    result = subprocess.run(
        [sys.executable, "-c", script, *options, "--trainer.max_epochs", "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (config,) = tmp_path.glob("mlartifacts/*/*/artifacts/config/fit.yaml")
    assert yaml.safe_load(config.read_text())["data"]["class_path"] == "integrand.datamodules.FashionMini"
