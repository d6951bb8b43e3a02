"""What a training step of a diffusion model does beside a plain loop with the same network; operations, not time."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from integrand.datamodules import EightGaussians
from integrand.modules.generative.diffusion import DiffusionModel


class Count(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.made = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.made += 1
        return func(*args, **(kwargs or {}))


def operations(step):
    step()
    with Count() as count:
        step()
    return count.made


def test_a_step_makes_at_most_a_fifth_more_operations_than_a_plain_loop():
    data = EightGaussians()
    model = DiffusionModel(data.spec).train()
    optimizer = torch.optim.Adam(model.net.parameters())
    x = data.reference(64, 0)

    def update(loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def ours():
        update(model.objective(x, None, "train").terms["loss"])

    def plain():
        t, noise = torch.rand(len(x)), torch.randn_like(x)
        alpha = (-0.25 * 19.9 * t * t - 0.05 * t).exp()[:, None]
        update((model.net(t, alpha * x + (1 - alpha**2).sqrt() * noise) - noise).square().mean())

    assert operations(ours) <= 1.2 * operations(plain)


def test_the_denoiser_of_training_is_kept_out_of_the_state():
    model = DiffusionModel(EightGaussians().spec)
    names = set(model.state_dict())
    model.train().objective(torch.randn(4, 2), None, "train")
    first = model._learning()
    assert model._learning() is first
    assert set(model.state_dict()) == names
    assert model.eval()._learning().network.net is model.trained
