"""A field that depends on time sees t as a channel of its own."""

import pytest
import torch

from integrand.datamodules import Digits
from integrand.modules import NeuralODE


def convolutions(**arguments):
    torch.manual_seed(0)
    model = NeuralODE(Digits().spec, channels=4, **arguments).double()
    return [m for m in model.modules() if hasattr(m, "time_dependent") and hasattr(m, "conv")]


def test_the_time_channel_adds_t_times_its_kernel():
    """At an inner pixel all nine weights of the channel that holds t meet t: conv(t, x) − conv(0, x) = t Σw."""
    found = convolutions(time_dependent=True)
    assert found, "the default field of the family holds such convolutions"
    for layer in found:
        weight = layer.conv.weight
        x = torch.randn(2, weight.shape[1] - 1, 6, 6, dtype=torch.float64)
        t = torch.tensor(0.7, dtype=torch.float64)
        change = (layer(t, x) - layer(torch.zeros_like(t), x))[:, :, 2:4, 2:4]
        expected = 0.7 * weight[:, -1].sum((1, 2)).view(1, -1, 1, 1).expand_as(change)
        assert expected.abs().max() > 1e-3
        # differences of sums of about 50 products of order one, in float64
        torch.testing.assert_close(change, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("time", [0.0, 3.0])
def test_without_it_there_is_no_channel_and_no_time(time):
    for layer in convolutions(time_dependent=False):
        x = torch.randn(2, layer.conv.weight.shape[1], 6, 6, dtype=torch.float64)
        assert torch.equal(layer(torch.tensor(time, dtype=torch.float64), x), layer.conv(x))
