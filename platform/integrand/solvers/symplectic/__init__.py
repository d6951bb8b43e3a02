"""Symplectic and second-order methods: energy kept, steps undone, gradients in constant memory."""

from .fields import SecondOrderField, SeparableField
from .implicit_midpoint import ImplicitMidpoint
from .methods import Leapfrog, Nystrom4, Yoshida4, Yoshida6

__all__ = [
    "ImplicitMidpoint",
    "Leapfrog",
    "Nystrom4",
    "SecondOrderField",
    "SeparableField",
    "Yoshida4",
    "Yoshida6",
]
