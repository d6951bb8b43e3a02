"""An experiment is a recipe (data, trainer, optimiser, budget) and a model (a family with its arguments)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config_files import PACKAGED, SUFFIXES, find, look_up, packaged, plain, read, sections
from .errors import UsageError
from .suggest import did_you_mean

_GROUP_KEYS = {"models", "trainer", "data", "model"}
_SUITE_KEYS = {"recipe", "models", "experiments", "seeds"}


@dataclass(frozen=True)
class Experiment:
    """What `integrand fit` trains: a recipe with a model, or a configuration that is whole by itself.

    Args:
        config: File of the recipe, or of the whole configuration.
        model: File or class of the model; empty where the configuration is whole.
        called: Name in place of the model's, which tells two of one model apart.
    """

    config: Path
    model: str = ""
    called: str = ""

    @property
    def name(self) -> str:
        """`digits/resnet`; of a whole configuration its path in `configs/published`, or folder and stem."""
        if self.model:
            return f"{self.config.stem}/{self.short}"
        published = (PACKAGED / "published").resolve()
        if self.config.is_relative_to(published):
            return self.config.relative_to(published).with_suffix("").as_posix()
        return f"{self.config.parent.name}/{self.config.stem}"

    @property
    def short(self) -> str:
        """The model alone, or the stem of a whole configuration."""
        return self.called or (model_name(self.model) if self.model else self.config.stem)

    def arguments(self) -> tuple[str, ...]:
        """The words of the command line that name it."""
        if self.model:
            return ("--recipe", str(self.config), "--model", self.model)
        return ("--config", str(self.config))

    def content(self) -> Any:
        """Its configuration, with everything that it includes.

        Raises:
            UsageError: A file cannot be read, or is not what it should be.
        """
        return compose(self.config, self.model) if self.model else read(self.config)


def find_model(name: str, base: Path | None = None) -> str:
    """The file of a model by path or bare name, else the name itself, which is then that of a class.

    Raises:
        UsageError: The name is that of a file, and there is none.
    """
    file = look_up(name, "model", base)
    if file is None and name.endswith(SUFFIXES):
        file = find(name, "model", base)  # says what is near
    return name if file is None else str(file.resolve())


def model_name(model: str) -> str:
    """A model's name in groups and tables: the stem of its file, or its class."""
    return Path(model).stem if model.endswith(SUFFIXES) else model.rpartition(".")[2]


def is_open(content: Mapping[str, Any]) -> bool:
    """Whether a configuration has groups, or settings for a model that it leaves to be named."""
    model = content.get("model")
    return "groups" in content or (isinstance(model, Mapping) and "class_path" not in model)


def compose(recipe: Path, model: str) -> dict[str, Any]:
    """The whole configuration of a recipe with a model.

    Where both set an argument the recipe's value holds, and before it that of the group that names the model.

    Args:
        recipe: File of the recipe.
        model: File or class of the model.

    Raises:
        UsageError: One of the files is not what it should be.
    """
    return compose_content(configuration(recipe, "recipe"), recipe, model)


def compose_content(content: Mapping[str, Any], file: Path, model: str) -> dict[str, Any]:
    """The same of a recipe that has been read.

    Raises:
        UsageError: It is no recipe, or has no data; or the model is none.
    """
    if not content.get("data"):
        raise UsageError(
            f"{file} is a recipe without data", "name a data set in it: data: {class_path: Digits}"
        )
    if not is_open({"model": {}, **content}):
        raise UsageError(f"{file} names its model and is no recipe", f"give it with --config {file}")
    return with_model(content, file, model)


def with_model(content: Mapping[str, Any], file: Path, model: str) -> dict[str, Any]:
    """An open configuration with a model; see `compose`."""
    result = {key: value for key, value in content.items() if key != "groups"}
    for group in _groups(content.get("groups"), file):
        if plain(model_name(model)) in {plain(model_name(name)) for name in group["models"]}:
            result = merged(result, {key: value for key, value in group.items() if key != "models"})
    result["model"] = merged(_read_model(model), result.get("model") or {})
    return result


def configuration(file: Path, kind: str) -> dict[str, Any]:
    """The content of a file of sections.

    Args:
        file: The file.
        kind: What it should be, in words.

    Raises:
        UsageError: It is a model, a data set or a suite.
    """
    content = sections(file)
    if "class_path" in content:
        raise UsageError(
            f"{file} is no {kind}: it describes the class {content['class_path']}",
            "give it with --model, or --data for a data set",
        )
    if _SUITE_KEYS & set(content):
        raise UsageError(f"{file} is no {kind}: it is a suite", f"integrand suite run {file}")
    return content


def merged(below: Any, above: Any) -> Any:
    """Two values as one: mappings key by key, else what is above; another class brings its own arguments."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    if "class_path" in above and below.get("class_path", above["class_path"]) != above["class_path"]:
        return above
    return {**below, **{k: merged(below[k], v) if k in below else v for k, v in above.items()}}


def _read_model(model: str) -> Any:
    """Class and arguments of a model."""
    if not model.endswith(SUFFIXES):
        return {"class_path": model}
    content = sections(Path(model))
    if isinstance(content.get("class_path"), str):
        return content
    option = "--recipe" if is_open(content) else "--config"
    raise UsageError(f"{model} is no model: it has no class_path", f"give a whole file with {option}")


def _groups(groups: Any, file: Path) -> list[dict[str, Any]]:
    """The groups of a recipe, checked: a model that nobody knows would be left out in silence."""
    if groups is None:
        return []
    if not isinstance(groups, list) or not all(isinstance(g, dict) and g.get("models") for g in groups):
        raise UsageError(
            f"{file}: groups are not a list of sets of models",
            "groups: [{models: [resnet], model: {init_args: {blocks: 6}}}]",
        )
    known = packaged("model")
    for group in groups:
        if extra := sorted(set(group) - _GROUP_KEYS):
            raise UsageError(
                f"{file}: a group has no key {extra[0]!r}{did_you_mean(extra[0], _GROUP_KEYS)}",
                f"its keys are {', '.join(sorted(_GROUP_KEYS))}",
            )
        _refuse_unknown_models(group["models"], known, file)
    return groups


def _refuse_unknown_models(models: Any, known: Collection[str], file: Path) -> None:
    for name in models:
        if "." not in str(name) and plain(str(name)) not in map(plain, known):
            raise UsageError(
                f"{file}: a group names the model {name!r}, which the package does not have"
                f"{did_you_mean(str(name), known)}",
                "name a model of your own by its file, net.yaml, or class, my_package.Net",
            )
