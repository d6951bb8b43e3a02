"""The command line of a trainer command, sorted out once before LightningCLI parses it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..config_files import CONFIG, SUFFIXES, read, resolved
from ..errors import UsageError
from ..moved import with_current_names
from ..recipes import compose_content, configuration, find_model, is_open, with_model

DEFAULT_CLASSES = {"model": "NeuralODE", "data": "FashionMini"}
"""What `integrand fit` trains, and on what, when told nothing."""

_SCHEDULER = re.compile(r"--model(?:\.init_args)?\.lr_scheduler(?:\.class_path)?")
_CLASS = re.compile(r"(?:\w+\.)*[A-Z]\w*")
_LINKED = ("--model.spec", "--model.init_args.spec")


@dataclass
class Word:
    """An option with its value, or a word that stands alone.

    Args:
        option: The option, or the word.
        value: Its value; None where it stands alone.
        content: What the configuration file that it names holds; None where it names none.
        changed: Whether the content is no longer that of the file.
        is_recipe: Whether it is a recipe that is put together with its model.
    """

    option: str
    value: str | None = None
    content: dict[str, Any] | None = None
    changed: bool = False
    is_recipe: bool = False

    @property
    def is_config(self) -> bool:
        """Whether it is a configuration file."""
        return self.option in CONFIG


class Line:
    """The words of a command line; files are found and read while it is made, each once.

    Args:
        argv: What the user typed after the command.

    Raises:
        UsageError: A file does not exist or is not what its option says, or a linked value is given by hand.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self.words = [_read(option, value) for option, value in _split(argv)]
        self._given = list(argv)

    def has(self, *options: str) -> bool:
        """Whether one of the options is given."""
        return any(word.option in options for word in self.words)

    def sets(self, section: str, key: str) -> bool:
        """Whether an option or a configuration sets `section.key` or something inside it."""
        option = f"--{section}.{key}"
        return any(
            word.option.rstrip("+") == option
            or word.option.startswith((f"{option}.", f"{option}+", f"{option}="))
            or (word.is_config and key in ((word.content or {}).get(section) or {}))
            for word in self.words
        )

    def value(self, option: str) -> str | None:
        """The value of the first such option; None where there is none or it has none."""
        return next((word.value for word in self.words if word.option == option), None)

    def take(self, option: str) -> str | None:
        """The value of an option, which is then gone; None where it has none."""
        found = next(word for word in self.words if word.option == option)
        self.words.remove(found)
        return found.value

    def put_first(self, content: dict[str, Any], name: str) -> None:
        """Start from a configuration, which all words override."""
        self.words.insert(0, Word("--config", name, _current(content), changed=True))

    def compose(self) -> None:
        """Replace a recipe and a model by one configuration at the front, which everything else overrides.

        So it does not matter where the recipe stands, nor whether it comes as `--recipe` or as a `--config`
        file that leaves the model to be named; after one that names it, such a file sets single values. A
        model's file alone becomes a configuration where it stands.

        Raises:
            UsageError: There are two recipes, or a file is not what its option says.
        """
        recipes = self._recipes()
        if len(recipes) > 1:
            names = " and ".join(str(word.value) for word in recipes)
            raise UsageError(
                f"{names} are two recipes", "give one; further --config files may set single values"
            )
        if not recipes:
            self.words = [_as_config(word) for word in self.words]
            return
        (recipe,) = recipes
        models = [word.value for word in self.words if word.option == "--model" and word.value]
        self.words = [word for word in self.words if word is not recipe and word.option != "--model"]
        model = find_model(models[-1] if models else self._configured_model() or DEFAULT_CLASSES["model"])
        file, content = Path(str(recipe.value)), recipe.content or {}
        whole = compose_content if recipe.option == "--recipe" else with_model
        composed = whole(content, file, model)
        self.words.insert(0, Word("--config", "experiment.yaml", composed, changed=True, is_recipe=True))

    def forget_replaced_classes(self) -> None:
        """Drop the options of a configured class where a later word names another class in its place.

        jsonargparse carries over what both classes take, so that the rtol of an adaptive solver would reach
        one with fixed steps, and Adam's weight decay SGD. What a recipe sets for data is for the data set
        named with it, whichever that is.
        """
        for i, word in enumerate(self.words):
            for earlier in self.words[:i]:
                for keys, node in list(_classes(earlier.content if earlier.is_config else None)):
                    if earlier.is_recipe and keys == ("data",):
                        continue
                    new = _class_at(word, keys)
                    if new and _name(new) != _name(node["class_path"]):
                        earlier.changed |= node.pop("init_args", None) is not None

    def add_default_classes(self) -> None:
        """Start from the default family and data set where nothing names one.

        They do not stand in the base configuration: parsed from there, every default of the default family
        would count as given, and be carried over to the family that the user names.
        """
        keys = {key for word in self.words if word.is_config for key in word.content or {}}
        keys |= {word.option.removeprefix("--") for word in self.words}
        missing = {key: default for key, default in DEFAULT_CLASSES.items() if key not in keys}
        self.words[:0] = [Word(f"--{key}", default) for key, default in missing.items()]

    def name_plateau(self) -> None:
        """Spell out `ReduceLROnPlateau`, which torch and Lightning both have: theirs takes a monitor."""
        monitored = any(word.option.endswith(".lr_scheduler.monitor") for word in self.words)
        for word in self.words:
            if _SCHEDULER.fullmatch(word.option) and word.value == "ReduceLROnPlateau":
                module = "lightning.pytorch.cli" if monitored else "torch.optim.lr_scheduler"
                word.value = f"{module}.ReduceLROnPlateau"

    def argv(self, scratch: Path) -> list[str]:
        """The words as LightningCLI takes them.

        Args:
            scratch: Folder for configurations that are not those of a file.
        """
        return [text for i, word in enumerate(self.words) for text in _written(word, scratch / str(i))]

    def blamed(self, error: UsageError) -> UsageError:
        """An error of the parser, told of the recipe where that sets what the model does not take."""
        option = re.search(r"takes no option '(\w+)", error.message)
        recipe = next((value for name, value in _split(self._given) if name == "--recipe"), None)
        if recipe is None or option is None or any(f".{option[1]}" in word for word in self._given):
            return error
        return UsageError(
            f"{error.message}, which the recipe {recipe} sets",
            "take a recipe that is for such models; configs/recipe has one for each kind",
        )

    def _recipes(self) -> list[Word]:
        found, named = [], False
        for word in self.words:
            if word.option == "--recipe" or (_leaves_model_open(word) and not named):
                found.append(word)
            named = named or bool(_model_of(word))
        return found

    def _configured_model(self) -> str:
        """The class that a whole configuration names last."""
        named = [_model_of(word) for word in self.words]
        return next((name for name in reversed(named) if name), "")


def _split(argv: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Options with their values, `--a=b` like `--a b`; `+=` appends and what has no value stand alone."""
    words = list(argv)
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if not word.startswith("-") or option.endswith("+"):
            yield word, None
        elif equals and word.startswith("--"):
            yield option, value
        else:
            yield word, words.pop(0) if words and not words[0].startswith("--") else None


def _read(option: str, value: str | None) -> Word:
    if option.startswith(_LINKED):
        raise UsageError(f"{option} cannot be set: the data set publishes its spec", "drop the option")
    if option == "--recipe" and value is None:
        raise UsageError("--recipe wants a name", "integrand fit --recipe digits --model resnet")
    if value is None:
        return Word(option)
    value = resolved(option, value)
    if option in CONFIG:
        content = configuration(Path(value), "configuration of an experiment")
    elif option == "--recipe":
        content = configuration(Path(value), "recipe")
    else:
        return Word(option, value)
    current = _current(content)
    return Word(option, value, current, changed=current != content)


def _current(value: Any) -> Any:
    """A configuration in which classes that have moved bear their present paths."""
    if isinstance(value, Mapping):
        return {key: _current(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_current(inner) for inner in value]
    return with_current_names(value) if isinstance(value, str) else value


def _leaves_model_open(word: Word) -> bool:
    return word.is_config and word.content is not None and is_open(word.content)


def _model_of(word: Word) -> str:
    """The class that a configuration names for the model; empty where it names none."""
    model = (word.content or {}).get("model") if word.is_config else None
    if isinstance(model, Mapping):
        model = model.get("class_path")
    return model if isinstance(model, str) else ""


def _as_config(word: Word) -> Word:
    """A model's file as a configuration, so that options after it are treated as after any other."""
    if word.option != "--model" or not (word.value or "").endswith(SUFFIXES):
        return word
    content = with_model({}, Path(str(word.value)), str(word.value))
    return Word("--config", "model.yaml", content, changed=True)


def _written(word: Word, folder: Path) -> list[str]:
    if word.value is None:
        return [word.option]
    if not word.changed:
        return [word.option, word.value]
    folder.mkdir(exist_ok=True)  # two files may have one name
    path = folder / Path(word.value).name
    path.write_text(yaml.safe_dump(word.content, sort_keys=False), encoding="utf-8")
    return [word.option, str(path)]


def _classes(config: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every mapping that names a class, with its keys; `init_args` is left out of them, as in options."""
    if not isinstance(config, dict):
        return
    if isinstance(config.get("class_path"), str):
        yield keys, config
    for key, value in config.items():
        yield from _classes(value, keys if key == "init_args" else (*keys, key))


def _class_at(word: Word, keys: tuple[str, ...]) -> str:
    """The class that a word names at `keys`; empty where it names none."""
    path: tuple[str, ...] = ()
    found: Any = word.content
    if not word.is_config:
        parts = word.option.removeprefix("--").removesuffix(".class_path").split(".")
        path = tuple(part for part in parts if part != "init_args")
        found = _content(word.value or "")
    if keys[: len(path)] != path:
        return ""
    for key in keys[len(path) :]:
        inside = found if isinstance(found, Mapping) else {}
        found = inside[key] if key in inside else (inside.get("init_args") or {}).get(key)
    if isinstance(found, Mapping):
        found = found.get("class_path")
    return found if isinstance(found, str) and _CLASS.fullmatch(found) else ""


def _content(value: str) -> Any:
    """What the value of an option says: a mapping, what a file of one holds, or the value itself."""
    try:
        if value.endswith(SUFFIXES):
            return read(Path(value)) if Path(value).is_file() else value
        return yaml.safe_load(value) if value.startswith("{") else value
    except (yaml.YAMLError, UsageError):
        return value  # the parser says what is wrong with it


def _name(class_path: Any) -> str:
    return str(class_path).rpartition(".")[2]
