"""Any callable as the module that solvers take, with everything it reaches in sight of them."""

from __future__ import annotations

import dis
import functools
import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from .states import Layout

MANY = 1000
"""Entries beyond which a container is data and is not searched; a solve still walks the field's graph."""


class FunctionField(nn.Module):
    """ẏ = function(t, y, *args) on states of any structure.

    Modules and tensors that the function reaches by its closure, its globals, its object or its arguments are
    held here, so that solvers see their dtype and find their gradients.

    Args:
        function: Called as `function(t, y, *args)`; returns dy/dt with the structure of y.
        layout: Structure of y.
        args: Further arguments.
    """

    def __init__(self, function: Callable[..., Any], layout: Layout, args: tuple[Any, ...] = ()) -> None:
        super().__init__()
        self.function, self.layout, self.args = function, layout, args
        hold(self, (function, *args))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The packed derivative at the packed state."""
        value = self.function(t, self.layout.unpack(y), *self.args)
        packed = self.layout.pack(value, "the field's value")
        return packed if self.layout.plain else packed.to(y.dtype)


def hold(module: nn.Module, values: Iterable[Any]) -> None:
    """Make modules and tensors that `values` reach attributes of `module`."""
    modules, tensors = _reached(values)
    module.reached_modules = nn.ModuleList(modules)
    # a plain list: these are not the module's own parameters, but their gradients are to be found
    module.reached_tensors = tensors  # type: ignore[assignment]  # nn.Module allows it


def _reached(values: Iterable[Any]) -> tuple[list[nn.Module], list[Tensor]]:
    modules: dict[int, nn.Module] = {}
    tensors: dict[int, Tensor] = {}
    seen: set[int] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            modules[id(value)] = value
        elif isinstance(value, Tensor):
            tensors[id(value)] = value
        else:
            stack.extend(_behind(value))
    return list(modules.values()), list(tensors.values())


def _behind(value: Any) -> Iterable[Any]:
    """What one value holds: the parts of a container, what a function closes over, an object's attributes."""
    if isinstance(value, list | tuple | set | dict):
        entries = list(value.values() if isinstance(value, dict) else value)
        return entries if len(entries) <= MANY else ()
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if inspect.ismethod(value):
        owner = value.__self__
        return [owner if isinstance(owner, nn.Module) else getattr(owner, "__dict__", {}), value.__func__]
    if inspect.isfunction(value):
        return _closure(value)
    if callable(value) and not inspect.isclass(value):
        return [getattr(value, "__dict__", {})]
    return ()


def _closure(function: Callable[..., Any]) -> list[Any]:
    """Cells, defaults, and those globals that are modules, tensors or functions of the same file."""
    cells = [c.cell_contents for c in function.__closure__ or () if _filled(c)]
    defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    named = [function.__globals__[n] for n in _global_names(function.__code__) if n in function.__globals__]
    own = [v for v in named if _of_the_file(v, function.__globals__)]
    return [*cells, *defaults, *own]


def _of_the_file(value: Any, names: dict[str, Any]) -> bool:
    """Whether a global may hold tensors: a container, a module, or a function with these globals."""
    if isinstance(value, nn.Module | Tensor | list | tuple | dict):
        return True
    return inspect.isfunction(value) and value.__globals__ is names


@functools.cache
def _global_names(code: types.CodeType) -> tuple[str, ...]:
    """Globals that a function reads, functions defined inside it included; an attribute's name is none."""
    names = [i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"]
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return tuple(dict.fromkeys([*names, *(n for c in inner for n in _global_names(c))]))


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # an empty cell raises
    except ValueError:
        return False
    return True
