"""What is evaluated beside the training leaves no trace in the module."""

import pytest
import torch
from torch import nn

from integrand.tracking.callbacks.evaluating import evaluating


def solving(tiny, needs_grad):
    """A module with a part that is frozen in evaluation mode."""
    module = tiny.TinyModule()
    module.part, module.frozen = nn.Linear(1, 1), nn.Linear(1, 1)
    module.needs_grad_at_eval = needs_grad
    module.train()
    module.frozen.eval()
    return module


@pytest.mark.parametrize("needs_grad", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_modes_and_random_state_are_put_back(tiny, needs_grad, fails):
    module, before = solving(tiny, needs_grad), torch.get_rng_state()
    try:
        with evaluating(module):
            assert not module.training
            assert not module.part.training
            assert torch.is_grad_enabled() == needs_grad
            torch.randn(3)
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        assert fails
    assert (module.training, module.part.training, module.frozen.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
