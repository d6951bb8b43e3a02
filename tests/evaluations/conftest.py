"""Small data and small networks that every evaluation measures."""

import pytest
import torch

from integrand.datamodules.images.digits import Digits
from integrand.datamodules.vectors.diabetes import Diabetes
from integrand.modules.discrete.resnet import ResNet
from integrand.modules.noise import Dropout


@pytest.fixture(scope="session")
def digits():
    return Digits(train_limit=64, eval_batch_size=128)


@pytest.fixture(scope="session")
def table():
    return Diabetes()


def trained(model, data, steps=150, rate=1e-2):
    """The model after a few steps of Adam; a batch is drawn by row."""
    x, y = data.some("train", 10_000)
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(steps):
        rows = torch.randint(len(x), (64,))
        loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


@pytest.fixture(scope="session")
def digits_net():
    """A ResNet that has learned digits to nine in ten, and its data."""
    torch.manual_seed(0)
    data = Digits()
    return trained(ResNet(data.spec, channels=8, blocks=2), data), data


@pytest.fixture
def noisy(digits):
    """An untrained network whose answers are random."""
    torch.manual_seed(0)
    return ResNet(digits.spec, channels=4, blocks=2, noise=Dropout(0.3, samples=5)).eval()
