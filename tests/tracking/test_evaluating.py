"""What is evaluated beside the training leaves no trace in the module."""

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from integrand.tracking.callbacks.evaluating import evaluating


class Solving(LightningModule):
    """Two parts, one of them frozen in evaluation mode, and an account that grows in place."""

    def __init__(self, needs_grad=False):
        super().__init__()
        self.part, self.frozen = nn.Linear(1, 1), nn.Linear(1, 1)
        self.needs_grad_at_eval = needs_grad
        self.solve_stats = ["before"]
        self.train()
        self.frozen.eval()


@pytest.mark.parametrize("needs_grad", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_modes_account_and_random_state_are_put_back(needs_grad, fails):
    module, before = Solving(needs_grad), torch.get_rng_state()
    try:
        with evaluating(module):
            assert not module.training
            assert not module.part.training
            assert torch.is_grad_enabled() == needs_grad
            module.solve_stats.append("inside")
            torch.randn(3)
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        assert fails
    assert module.solve_stats == ["before"]
    assert (module.training, module.part.training, module.frozen.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.is_grad_enabled()
