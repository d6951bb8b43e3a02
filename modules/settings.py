"""Settings of a model in a few words."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

from torch import nn


def short(value: Any) -> str:
    """A setting: parts and functions by their name."""
    if isinstance(value, nn.Module):
        return type(value).__name__
    if isinstance(value, partial):
        # the command line hands over the class as an argument of what instantiates it
        made = next((a for a in value.args if inspect.isclass(a)), value.func)
        return f"{made.__name__}({', '.join(f'{k}={v!r}' for k, v in value.keywords.items())})"
    return str(getattr(value, "__qualname__", None) or " ".join(repr(value).split()))
