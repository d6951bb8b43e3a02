"""In which dtype a field is told the time: the state's, or float64 where that would round the time away."""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Sequence

import torch
from torch import Tensor

from integrand.errors import SpecError

SHARE = 2.0**-10
"""Largest rounding of a time, in units of the whole span."""
STEP_SHARE = 2.0**-4
"""Largest rounding of a time, in units of the shortest of the fixed steps."""


def clock_dtype(
    largest: float, span: float, dtype: torch.dtype, device: torch.device, step: float | None = None
) -> torch.dtype:
    """The dtype of the times that a field is called with.

    Rounding moves a time by up to half the spacing of numbers near `largest`: at t = 1e6 by 0.03 in float32.
    Where that is small against the span and the steps the times have the state's dtype, which every field
    can concatenate with its state; elsewhere they are float64.

    Args:
        largest: Largest |t|.
        span: Length of the solve.
        dtype: Dtype of the state.
        device: Where the field is evaluated.
        step: Shortest step where it is known beforehand.

    Raises:
        SpecError: The device has no float64.
    """
    if not rounds_away(largest, span, dtype, step):
        return dtype
    if device.type == "mps":
        raise SpecError(
            f"times near {largest:.6g} leave too few digits for a span of {span:.6g} in {dtype}",
            "measure times from the start of the solve",
        )
    warnings.warn(
        "the times are so large against the span or the steps that the state's dtype would round them: the "
        "field gets them in float64, and rounds them itself where it casts them; to be rid of both measure "
        "times from the start of the solve",
        stacklevel=3,
    )
    return torch.float64


def rounds_away(largest: float, span: float, dtype: torch.dtype, step: float | None = None) -> bool:
    """Whether `dtype` rounds times near `largest` by more than is small against the span or the step."""
    if dtype == torch.float64 or not span:
        return False
    eps = torch.finfo(dtype).eps
    allowed = span * max(SHARE, 2 * eps)
    if step is not None:
        allowed = min(allowed, max(step * STEP_SHARE, span * 2 * eps))
    return largest * eps / 2 > allowed


def times_tensor(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Times as one tensor, in one transfer.

    Through a buffer in a third of the time of `torch.tensor`, which reads a sequence number by number.
    """
    code = _CODES.get(dtype)
    if code is None:
        return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)
    times = torch.frombuffer(array(code, values), dtype=dtype)
    return times if device.type == "cpu" else times.to(device, non_blocking=True)


_CODES = {torch.float64: "d", torch.float32: "f"}


def needs_float64(t: torch.Tensor, y: torch.Tensor, error: RuntimeError) -> SpecError | RuntimeError:
    """What to say where a field cannot mix a float64 time with its state."""
    words = str(error).lower()
    # no time up to 1 is told in float64 for the sake of its digits
    if (
        t.dtype == y.dtype
        or t.abs().max() <= 1
        or not any(w in words for w in ("dtype", "double", "scalar type"))
    ):
        return error
    return SpecError(
        f"times near {t.max().item():.6g} need float64, which the field does not take: {error}",
        "measure times from the start of the solve, or let the field reduce t in float64 before it casts it",
    )
