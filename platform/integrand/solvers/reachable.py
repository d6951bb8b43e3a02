"""Finds the tensors that a field can lay its hands on, without evaluating it."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType

import torch
from torch import Tensor, nn

DEPTH = 7
"""How many references away from the field a tensor is looked for."""
MOST = 5000
"""How many objects are looked at before the search gives up; a recomputation that meets others is refused."""

_PLAIN = frozenset(
    {int, float, bool, complex, str, bytes, type(None), type(Ellipsis), slice, range}
    | {torch.dtype, torch.device, torch.Size, ModuleType, BuiltinFunctionType}
)
_FOREIGN = frozenset({"torch", "numpy", "lightning", "pytorch_lightning", "mlflow", "builtins", "typing"})
_EMPTY_ON_MODULES = frozenset(nn.Module().__dict__) - {"_parameters", "_buffers", "_modules"}


def reachable_tensors(owner: object) -> Iterator[Tensor]:
    """Tensors held by an object, by what it holds, by its class, and by what its functions name.

    Followed are attributes, lists, tuples, sets, dictionaries, modules kept in any of them, bound methods,
    partial functions, closures, defaults, and the globals that a function's code names.

    Args:
        owner: A module, a function, or any object.
    """
    seen = {id(owner)}
    queue: deque[tuple[object, int]] = deque([(owner, 0)])
    while queue:
        value, depth = queue.popleft()
        if isinstance(value, Tensor):
            yield value
            continue
        if depth >= DEPTH:
            continue
        for part in _parts(value):
            if type(part) in _PLAIN or isinstance(part, type) or id(part) in seen:
                continue
            if len(seen) > MOST:
                return
            seen.add(id(part))
            queue.append((part, depth + 1))


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, list | tuple | set | frozenset | deque):
        return value
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, FunctionType):
        return _of_function(value)
    if wrapped := _wrapped(value):
        return wrapped
    if isinstance(value, nn.Module):
        return _of_module(value)
    if _foreign(type(value).__module__):
        return ()
    slots = [getattr(value, name, None) for name in getattr(type(value), "__slots__", ())]
    return [*getattr(value, "__dict__", {}).values(), *slots, *_of_class(type(value))]


def _wrapped(value: object) -> tuple[object, ...]:
    """What a method, descriptor or partial stands around; nothing for any other value."""
    if isinstance(value, MethodType):
        return (value.__self__, value.__func__)
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if isinstance(value, property):
        return (value.fget,)
    if isinstance(value, functools.partial):
        return (value.func, value.args, value.keywords)
    return ()


def _of_module(module: nn.Module) -> Iterable[object]:
    # most of a module's own dictionaries are empty, and hooks are no part of what a module computes from
    own = [v for k, v in vars(module).items() if k not in _EMPTY_ON_MODULES or (v and k.endswith("hooks"))]
    return [*own, *_of_class(type(module))]


def _of_function(function: FunctionType) -> Iterable[object]:
    if _foreign(function.__module__):
        return ()
    parts: list[object] = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    for cell in function.__closure__ or ():
        try:
            parts.append(cell.cell_contents)
        except ValueError:  # not bound yet
            continue
    names = function.__globals__
    parts += [names[name] for name in _names(function.__code__) if name in names]
    return parts


def _of_class(kind: type) -> Iterable[object]:
    """What the class and its bases hold, their methods included; nothing for classes of libraries."""
    return [v for base in kind.__mro__ if not _foreign(base.__module__) for v in vars(base).values()]


@functools.lru_cache(maxsize=4096)
def _names(code: CodeType) -> tuple[str, ...]:
    """Global names that the code, or code nested in it, looks up."""
    nested = (name for c in code.co_consts if isinstance(c, CodeType) for name in _names(c))
    return tuple(dict.fromkeys((*code.co_names, *nested)))


def _foreign(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _FOREIGN
