"""What `torch.compile` needs to be told, wherever it is used."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import FunctionType
from typing import Any


def own_code(function: Callable[..., Any]) -> FunctionType:
    """The function with a code object of its own: dynamo bounds recompilations per code object.

    Args:
        function: A plain function.
    """
    assert isinstance(function, FunctionType)
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_numbers)}")
    return FunctionType(code, function.__globals__, code.co_name, function.__defaults__, function.__closure__)


_numbers = count()
