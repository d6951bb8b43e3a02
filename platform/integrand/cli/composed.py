"""Puts the recipe and the model that the arguments name together, before LightningCLI parses them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from ..config_files import CONFIG, SUFFIXES, sections
from ..errors import UsageError
from ..recipes import compose, configuration, find_model, is_open, with_model


def compose_recipe(argv: list[str], default_model: str, scratch: Path) -> list[str]:
    """Replace a recipe and a model by one configuration at the front, which everything else overrides.

    So it does not matter where the recipe stands, nor whether it comes as `--recipe` or as a `--config` file
    that leaves the model to be named. A model's file alone becomes a configuration where it stands.

    Args:
        argv: The arguments; files are named by their paths.
        default_model: The model where none is named.
        scratch: Folder for the composed file.

    Raises:
        UsageError: There are two recipes, or a file is not what its option says.
    """
    recipes, others, models = _sorted_out(argv)
    if not recipes:
        return _model_files(argv, scratch)
    if len(recipes) > 1:
        names = " and ".join(value for _, value in recipes)
        raise UsageError(f"{names} are two recipes", "give one; further --config files may set single values")
    option, file = recipes[0]
    model = find_model(models[-1] if models else _configured_model(others) or default_model)
    path = Path(file)
    whole = compose(path, model) if option == "--recipe" else with_model(sections(path), path, model)
    return ["--config", _write(whole, scratch / "experiment.yaml"), *others]


def blamed(error: UsageError, argv: list[str]) -> UsageError:
    """The error, told of the recipe where that sets what the model does not take.

    Args:
        error: What the parser says.
        argv: The arguments as the user wrote them.
    """
    option = re.search(r"takes no option '(\w+)'", error.message)
    if "--recipe" not in argv or option is None or any(f".{option[1]}" in word for word in argv):
        return error
    recipe = argv[argv.index("--recipe") + 1]
    return UsageError(
        f"{error.message}, which the recipe {recipe} sets",
        "take a recipe that is for such models; configs/recipe has one for each kind",
    )


def _sorted_out(argv: list[str]) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """The recipes with their options, the models, and in between all other arguments."""
    recipes: list[tuple[str, str]] = []
    others: list[str] = []
    models: list[str] = []
    words = iter(argv)
    for word in words:
        value = next(words, None) if word in (*CONFIG, "--recipe", "--model") else None
        if value is None:
            if word == "--recipe":
                raise UsageError("--recipe wants a name", "integrand fit --recipe digits --model resnet")
            others.append(word)
        elif word == "--model":
            models.append(value)
        elif word == "--recipe" or _is_open_file(value):
            recipes.append((word, value))
        else:
            others += [word, value]
    return recipes, others, models


def _is_open_file(name: str) -> bool:
    """Whether a `--config` file leaves its model to be named.

    Raises:
        UsageError: The file is no configuration.
    """
    return is_open(configuration(Path(name), "configuration of an experiment"))


def _configured_model(argv: list[str]) -> str:
    """The class that a whole configuration among the arguments names last."""
    found = ""
    for option, value in pairwise(argv):
        model = sections(Path(value)).get("model") if option in CONFIG else None
        if isinstance(model, Mapping):
            found = str(model["class_path"])
    return found


def _model_files(argv: list[str], scratch: Path) -> list[str]:
    """Model files as configurations, so that options after them are treated as after any configuration."""
    result = list(argv)
    for i, (option, value) in enumerate(pairwise(argv)):
        if option == "--model" and value.endswith(SUFFIXES):
            content = with_model({}, Path(value), value)
            result[i : i + 2] = ["--config", _write(content, scratch / f"model-{i}.yaml")]
    return result


def _write(content: Any, path: Path) -> str:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return str(path)
