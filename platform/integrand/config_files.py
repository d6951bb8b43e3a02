"""Configuration files, the user's own and the packaged ones: found by name, read with what they include."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from .errors import UsageError
from .suggest import closest

PACKAGED = Path(__file__).resolve().parent / "configs"
"""The configurations of the repository; in a wheel they lie inside the package."""

BASE = PACKAGED / "base.yaml"
"""What every run starts from; later files and options override it."""

SUFFIXES = (".yaml", ".yml")

CONFIG = ("--config", "-c")
_FOLDERS = {"--recipe": "recipe", "--model": "model", "--data": "data", "--trainer": "trainer"}

# where densities in the plane had a folder each
_POINTS = {
    "two_moons": "TwoMoons",
    "eight_gaussians": "EightGaussians",
    "pinwheel": "Pinwheel",
    "checkerboard": "Checkerboard",
    "swiss_roll": "SwissRoll",
    "circles": "Circles",
}


def packaged(folder: str = "") -> list[str]:
    """Names of the packaged files below a folder of `configs/`, relative to it and without their suffix."""
    top = PACKAGED / folder
    return sorted(p.relative_to(top).with_suffix("").as_posix() for p in top.rglob("*.yaml"))


def plain(name: str) -> str:
    """A name as it is compared: `ResNet`, `resnet` and `lm-resnet`, `lm_resnet` are one each."""
    return re.sub(r"[-_ ]", "", name.removesuffix(".yaml").removesuffix(".yml")).casefold()


def look_up(name: str, folder: str = "", base: Path | None = None) -> Path | None:
    """The file that `name` means, None where there is none.

    A path wins, from `base` and then from here; then a packaged file by its path below `configs/`, with or
    without that prefix and `.yaml`, so that the README's commands work from any directory and from a wheel;
    then one of the packaged folder by its bare name.

    Args:
        name: What the user wrote.
        folder: The folder of `configs/` for bare names, such as `recipe`.
        base: The folder of the file that names it.
    """
    path, short = Path(name).expanduser(), name.removeprefix("configs/")
    own = [path] if base is None else [base / path, path]
    for candidate in (*own, PACKAGED / short, PACKAGED / f"{short}.yaml"):
        if candidate.is_file():
            return candidate
    if folder and "/" not in name:
        return {plain(p.stem): p for p in (PACKAGED / folder).glob("*.yaml")}.get(plain(name))
    return None


def find(name: str, folder: str = "", base: Path | None = None) -> Path:
    """The file that `name` means; see `look_up`.

    Raises:
        UsageError: There is no such file.
    """
    file = look_up(name, folder, base)
    if file is not None:
        return file
    if today := moved(name):
        words = " ".join(f"--{option} {value}" for option, value in today.items())
        raise UsageError(f"experiments are recipes with models now, and {name} is gone", f"use {words}")
    near = closest(Path(name).stem if folder else name.removesuffix(".yaml"), packaged(folder))
    if near and not folder:
        near += ".yaml"
    some = ", ".join(packaged(folder)[:8])
    raise UsageError(
        f"there is no {folder or 'configuration'} {name!r} here or in the package",
        f"did you mean {near}?" if near else f"packaged ones: {some}, …",
    )


def resolve_files(argv: list[str]) -> list[str]:
    """Arguments with the names of configuration files replaced by their paths.

    After `--model`, `--data` and `--trainer` a bare name means a packaged file where it is written like one:
    `neural_ode` or `neural-ode`; `NeuralODE` is a class.

    Raises:
        UsageError: A file is named that exists neither here nor in the package.
    """
    return [*argv[:1], *(resolved(option, value) for option, value in pairwise(argv))]


def resolved(option: str, value: str) -> str:
    """The path of the file that the value of an option names, or the value; see `resolve_files`."""
    folder = _FOLDERS.get(option, "")
    if option in CONFIG or option == "--recipe" or (folder and value.endswith(SUFFIXES)):
        return str(find(value, folder))
    if folder and value == value.lower() and "." not in value:
        file = look_up(value, folder)
        return value if file is None else str(file)
    return value


def moved(name: str) -> dict[str, str]:
    """What a name of the former `configs/experiment` is today, by option of fit; empty for others."""
    old = re.fullmatch(r"(?:.*\bexperiment/)?(\w+)/(\w+?)(?:\.yaml)?", name)
    if old is None:
        return {}
    folder, model = old.groups()
    if f"{folder}/{model}" in packaged("published"):
        return {"config": f"published/{folder}/{model}.yaml"}
    if model not in packaged("model"):
        return {}
    if folder in _POINTS:
        return {"recipe": "points", "model": model, "data": _POINTS[folder]}
    recipe = f"{folder}_generation" if model.startswith("diffusion") else folder
    return {"recipe": recipe, "model": model} if recipe in packaged("recipe") else {}


def read(file: Path, above: tuple[Path, ...] = (), inline: bool = True) -> Any:
    """The content of a configuration file with the files that it names in place of their names.

    Comments and layout are gone.

    Args:
        file: The file.
        above: The files that include it.
        inline: Whether files that it names are read too.

    Raises:
        UsageError: A file cannot be read, is not YAML, or includes itself.
    """
    if file in above:
        raise UsageError(f"{file} includes itself", "break the circle")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", "correct its permissions") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not YAML: {' '.join(str(error).split())}", "mend the file") from error
    return include(content, file.parent, (*above, file)) if inline else content


def include(value: Any, base: Path, above: tuple[Path, ...] = ()) -> Any:
    """A value in which the name of a configuration file is replaced by what the file holds."""
    if isinstance(value, dict):
        # the models of a group are named, not included
        return {str(k): v if k == "models" else include(v, base, above) for k, v in value.items()}
    if isinstance(value, list):
        return [include(v, base, above) for v in value]
    if isinstance(value, str) and value.endswith(SUFFIXES):
        file = look_up(value, base=base)
        return value if file is None else read(file.resolve(), above)
    return value


def sections(file: Path) -> dict[str, Any]:
    """The content of a file that has to be a mapping of sections.

    Raises:
        UsageError: It is something else.
    """
    content = read(file) or {}
    if not isinstance(content, dict):
        raise UsageError(f"{file} is not a mapping of sections", "start it with model:, data: or trainer:")
    return content
