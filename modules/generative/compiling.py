"""Networks that go through `torch.compile`."""

from __future__ import annotations

import torch

from integrand.compiling import own_code

from .backbones import TimeNet


def compile_network(net: TimeNet) -> None:
    """Have calls of the network go through `torch.compile`; its weights and their names stay what they are.

    As `nn.Module.compile`, but with a bound of its own on recompilations, which that method shares with every
    module: training, evaluation, their batch sizes and times of either shape are a graph each.

    Args:
        net: The network.
    """
    forward = own_code(type(net).forward)
    net._compiled_call_impl = torch.compile(forward.__get__(net))
