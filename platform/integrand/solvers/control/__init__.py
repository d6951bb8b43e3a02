"""Controlled differential equations dz = f(t, z) dX: control paths from series, and their solver."""

from .field import ControlledField
from .interpolation import hermite_control, linear_control, natural_cubic_control, rectilinear_control
from .log_signature import (
    log_signature,
    log_signature_channels,
    log_signature_control,
    lyndon_words,
    signature,
)
from .path import ControlPath
from .solver import CDESolver

__all__ = [
    "CDESolver",
    "ControlPath",
    "ControlledField",
    "hermite_control",
    "linear_control",
    "log_signature",
    "log_signature_channels",
    "log_signature_control",
    "lyndon_words",
    "natural_cubic_control",
    "rectilinear_control",
    "signature",
]
