"""Noising processes: how data become noise."""

from .base import Node, Process, VariancePreserving
from .cosine import CosineVP
from .discrete_vp import DiscreteVP
from .edm import EDM
from .linear_flow import LinearFlow
from .sub_vp import SubVP
from .ve import VE
from .vp import VP

__all__ = [
    "EDM",
    "VE",
    "VP",
    "CosineVP",
    "DiscreteVP",
    "LinearFlow",
    "Node",
    "Process",
    "SubVP",
    "VariancePreserving",
]
