"""Turns jsonargparse's nested reports into one sentence with a did-you-mean."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, get_args, get_origin, get_type_hints

from ..errors import IntegrandError, UsageError
from ..registry import subclasses
from ..suggest import did_you_mean

_KEY = re.compile(r'Parser key "([^"]+)"')
_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_CLASS_PATH = re.compile(r"(?:Problem with given class_path |class_path=)'([^']+)'")
_IMPORT = re.compile(r"Expected a dot import path string: (.+)")
_LITERAL = re.compile(r"Expected a typing\.Literal\[(.*?)\]\. Got value: (.*)")
_TYPE = re.compile(r"Expected a <class '(.*?)'>\. Got value: (.*)")
_UNION = re.compile(r"^\s*- Expected (?:an? )?<class '(.*?)'>", re.M)
_GIVEN = re.compile(r"Given value: (.*)")
_SUBTYPES = re.compile(r"Subtypes: \[(.*)\]")
_CLASS_NAME = re.compile(r"[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*)+")
_NESTED = re.compile(r"NestedArg\(key='([^']*)', val='(.*)'\)")
_UNKNOWN = re.compile(r"unrecognized arguments: (--?[^\s=]+)")
_REJECTED = re.compile(r"(?:Subcommand|Group) '(\w+)' does not accept (?:option|nested key) '([^']+)'")
_NO_MODULE = re.compile(r"No module named '([^']+)'")
_NO_ATTRIBUTE = re.compile(r"module '([^']+)' has no attribute '([^']+)'")
_WRONG_BASE = re.compile(
    r"(?:subclass of|function that returns) (?:<class ')?([\w.]+?)(?:'>)?[.'\s]*(?:Got value.*)?$",
    re.MULTILINE,
)
_ATTEMPT = re.compile(
    r"^\s*- (?!Expected an? |Expected <class|Does not validate|Problem with)(.+)", re.MULTILINE
)
_REQUIRED = re.compile(r"the following arguments are required: (.+)")


def explain(message: str, options: Iterable[str], command: str) -> UsageError:
    """The parser's message as one sentence that names the option as the user wrote it.

    Args:
        message: What jsonargparse reports, several lines of nested attempts.
        options: Every option of the command, dotted and without leading dashes.
        command: Name of the command, for the remedy.

    Returns:
        The error to raise.
    """
    text = message.strip()
    remedy = f"integrand {command} --help lists the options"
    unknown = _UNKNOWN.search(text)
    if unknown and "Problem with given class_path" not in text:
        name = unknown[1].lstrip("-").rstrip("+")
        return UsageError(f"unknown option --{name}{_suggest_option(name, options)}", remedy)
    rejected = _REJECTED.search(text)
    if rejected:
        name = rejected[2]
        return UsageError(
            f"unknown key {name!r} in the configuration{_suggest_option(name, options)}", remedy
        )
    required = _REQUIRED.search(text)
    path = ".".join(_KEY.findall(text))
    if required and path:
        owner = (_last(_CLASS_PATH, text) or "the class").rpartition(".")[2]
        first = re.split(r"[\s,]", required[1])[0]
        return UsageError(f"{path}: {owner} wants {required[1]}", f"give --{path}.{first} VALUE")
    if required:
        names = required[1].replace(f"{command}.", "--")
        return UsageError(f"missing {names}", f"give it, for example: integrand {command} --data FashionMini")
    return _explain_value(text, path, remedy)


def misconfigured(error: Exception, command: str) -> UsageError:
    """What Lightning refuses, in one line; too many devices are the usual case."""
    text = " ".join(str(error).split())
    if re.search(r"machine only has|supported gpu backend|accelerator can not run|requires a GPU", text):
        return UsageError(
            text, "integrand doctor lists the devices; ask for fewer, or for --trainer.accelerator cpu"
        )
    return UsageError(text, f"integrand {command} --help lists the options")


def missing_package(error: ModuleNotFoundError) -> UsageError:
    """An optional package that a class wants and that is not installed."""
    text = str(error)
    named = re.search(r"pip install (?:-U )?'?([\w.<>=!~\[\]-]+)", text) or re.search(
        r"[`']([\w.-]+)[`']", text
    )
    if "tensorboard" in text:
        package = "tensorboard"
    else:
        package = named[1].rstrip(".") if named and named[1] != "install" else (error.name or "the package")
    return UsageError(
        f"{package} is not installed: {text.splitlines()[0]}", f"pip install '{package}', or leave it out"
    )


def out_of_memory() -> IntegrandError:
    """What to say where device or host have no memory left."""
    return IntegrandError(
        "the device ran out of memory", "lower data.batch_size or model.channels, or use gradient: checkpoint"
    )


def _explain_value(text: str, path: str, remedy: str) -> UsageError:
    """The deepest complaint about the value at `path`."""
    inner = _UNKNOWN.search(text)
    option = _last(_OPTION, text) or (inner and inner[1].lstrip("-").partition(".")[0])
    owner = _last(_CLASS_PATH, text) or ""
    if option:
        name = owner.rpartition(".")[2]
        detail = f"{name} takes no option {option!r}{did_you_mean(option, _parameters(_import(owner)))}"
        return UsageError(f"{path}: {detail}" if path else detail, f"--{path}.help {name} lists its options")
    missing = _last(_IMPORT, text)
    if missing:
        known = _known_classes(text, owner, path.rpartition(".")[2])
        return UsageError(
            f"{path}: there is no class {missing!r}{did_you_mean(missing, known)}",
            f"known: {', '.join(sorted(known)[:12])}" if known else remedy,
        )
    return _explain_class(text, path) or _explain_kind(text, path, remedy)


def _explain_class(text: str, path: str) -> UsageError | None:
    """What is wrong with a class path, None where nothing is said about one."""
    module = _last(_NO_MODULE, text)
    if module:
        return UsageError(
            f"{path}: there is no module {module!r}",
            "a class path is module.Class, of an installed package or of a file in this folder",
        )
    attribute = _NO_ATTRIBUTE.search(text)
    if attribute:
        inside = vars(import_module(attribute[1])).items()
        names = [name for name, value in inside if inspect.isclass(value) and not name.startswith("_")]
        return UsageError(
            f"{path}: {attribute[1]} has no {attribute[2]!r}{did_you_mean(attribute[2], names)}",
            f"its classes: {', '.join(names[:12])}",
        )
    base = _last(_WRONG_BASE, text)
    if base:
        name = base.rpartition(".")[2]
        return UsageError(f"{path}: {_value(text)} is no {name}", f"name a class that is derived from {base}")
    return None


def _value(text: str) -> str:
    """The value that was given, as the user wrote it."""
    given = _last(_GIVEN, text) or ""
    nested = _NESTED.search(given)
    return nested[2] if nested else given


def _explain_kind(text: str, path: str, remedy: str) -> UsageError:
    """What kind of value the option at `path` takes, where the one given is of another."""
    literal = list(_LITERAL.finditer(text))
    if literal:
        choices = [c.strip(" '\"") for c in literal[-1][1].split(",")]
        value = literal[-1][2].strip()
        return UsageError(
            f"{path}: {value!r} is not a choice{did_you_mean(value, choices)}", f"one of {', '.join(choices)}"
        )
    typed = list(_TYPE.finditer(text))
    if typed:
        value = typed[-1][2].partition(". Got value:")[0].strip().strip('"')
        return UsageError(f"{path}: expected {typed[-1][1]}, got {value!r}", remedy)
    union = [name for name in _UNION.findall(text) if name != "NoneType"]
    value = _value(text)
    tried = _last(_ATTEMPT, text)
    if path and value and tried:
        # what was tried last failed by itself: a file that cannot be imported, a type that refuses
        return UsageError(f"{path}: {value!r} cannot be used: {tried}", remedy)
    if union and value:
        return UsageError(f"{path}: expected {' or '.join(dict.fromkeys(union))}, got {value!r}", remedy)
    return UsageError(" ".join(text.split()), remedy)


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.findall(text)
    return found[-1].strip() if found else None


def _suggest_option(name: str, options: Iterable[str]) -> str:
    """A did-you-mean over whole dotted names; options of a class are known only by their prefix."""
    hint = did_you_mean(name, options)
    head, dot, tail = name.partition(".")
    if not hint and dot:
        roots = {o.partition(".")[0] for o in options}
        near = did_you_mean(head, roots).removeprefix(", did you mean ").removesuffix("?")
        hint = f", did you mean {near}.{tail}?" if near and near != head else ""
    return hint


def _import(path: str) -> Any:
    """The object at a dotted path, None where it cannot be had."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name, None)
    except (ImportError, ValueError):
        return None


def _parameters(owner: Any) -> dict[str, Any]:
    """Annotations of the constructor's parameters, those of the bases that `**kwargs` reaches included."""
    found: dict[str, Any] = {}
    for base in owner.__mro__ if inspect.isclass(owner) else ():
        constructor = base.__dict__.get("__init__")
        if not inspect.isfunction(constructor):
            continue
        named = _named_parameters(constructor)
        found.update({n: hint for n, hint in named.items() if n not in found})
        if not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(constructor).parameters.values()):
            break
    return {n: h for n, h in found.items() if n not in {"self", "spec", "dynamics", "params"}}


def _named_parameters(constructor: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of the parameters that can be given by name."""
    hints = get_type_hints(constructor)
    parameters = inspect.signature(constructor).parameters.values()
    return {p.name: hints.get(p.name) for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def _known_classes(text: str, owner: str, parameter: str) -> list[str]:
    """Short names of the classes that the parameter would have accepted."""
    if owner:
        roots = _classes_in(_parameters(_import(owner)).get(parameter))
    else:
        subtypes = _SUBTYPES.findall(text)
        named = _CLASS_NAME.findall(subtypes[-1]) if subtypes else []
        roots = [_import(name) for name in named if not name.startswith("collections.")]
    found = [c for root in roots if inspect.isclass(root) for c in (subclasses(root) or [root])]
    return list(dict.fromkeys(c.__name__ for c in found if _offered(c)))


def _offered(candidate: type) -> bool:
    """Whether a class is meant to be named: not an abstract base, not one that a library made for itself."""
    private = candidate.__qualname__.startswith(("_", "LazyInstance_"))
    return not (private or inspect.isabstract(candidate) or getattr(candidate, "family", None) == "")


def _classes_in(annotation: Any) -> list[type]:
    """The classes that an annotation names: of a callable those that it returns, else all of them."""
    parts = get_args(annotation)
    if get_origin(annotation) is Callable:
        parts = parts[-1:]
    if inspect.isclass(annotation) and not parts:
        return [] if annotation.__module__ == "builtins" else [annotation]
    return [c for part in parts if not isinstance(part, list) for c in _classes_in(part)]
