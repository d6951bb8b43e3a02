"""Objects as default values of constructors, and functions as arguments that a pickled model keeps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import jsonargparse.typing
from jsonargparse.typing import lazy_instance

T = TypeVar("T")


@cache
def _lazy_base() -> Any:
    """What jsonargparse derives its lazy instances from.

    Its own `lazy_instance` looks for its caller in the source of every module that is loaded, so it is asked
    only where the base has another name.
    """
    known = getattr(jsonargparse.typing, "_LazyInitBaseClass", None)
    return known or type(lazy_instance(Exception)).__bases__[0]


def default(made: type[T], **options: Any) -> T:
    """An object as default value that the command line can show, print and replace.

    jsonargparse makes it of a class derived for the purpose; here that bears the name of the class that it
    stands for, and copies and pickles are of the class itself.

    Args:
        made: Its class.
        options: Arguments of its constructor.
    """
    kind: Any = made  # mypy doubts that a class can be hashed
    return cast(T, _derived(kind)(made, options))


@cache
def _derived(made: type) -> Any:
    members = {
        "__doc__": made.__doc__,
        "__module__": __name__,
        "__qualname__": f"LazyInstance_{made.__name__}",  # tells the two apart
        "__reduce__": _as_itself,
        "__repr__": lambda self: repr(_itself(self)),
    }
    return type(made.__name__, (_lazy_base(), made), members)


def _itself(stands_for: Any) -> Any:
    return stands_for._lazy_class_type(**stands_for._lazy_kwargs)


def _as_itself(stands_for: Any) -> tuple[Any, ...]:
    return _make, (stands_for._lazy_class_type, dict(stands_for._lazy_kwargs))


def _make(made: Callable[..., Any], options: dict[str, Any]) -> Any:
    return made(**options)


class Maker:
    """A function that a model was given, such as what makes its optimiser.

    Pickling a model pickles it by name; a constructor's default, which is a lambda so that the command line
    can read it, is found again in that constructor.

    Args:
        function: The function.
        owner: Class of the model.
        parameter: Name of the constructor's parameter.
    """

    def __init__(self, function: Callable[..., Any], owner: type, parameter: str) -> None:
        self.function, self.owner, self.parameter = function, owner, parameter

    def __call__(self, *args: Any) -> Any:
        """What the function returns."""
        return self.function(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> Maker:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        for number, base in enumerate(self.owner.__mro__):
            if _default(base, self.parameter) is self.function:
                return _found_again, (self.owner, self.parameter, number)
        return Maker, (self.function, self.owner, self.parameter)


def _default(base: type, parameter: str) -> Any:
    constructor = base.__dict__.get("__init__")
    known = inspect.signature(constructor).parameters if inspect.isfunction(constructor) else {}
    return known[parameter].default if parameter in known else None


def _found_again(owner: type, parameter: str, number: int) -> Maker:
    return Maker(_default(owner.__mro__[number], parameter), owner, parameter)
