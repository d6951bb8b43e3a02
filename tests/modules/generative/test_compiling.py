"""`compile: true` and `channels_last: true` change the speed and nothing else."""

import pytest
import torch

from integrand.errors import UsageError
from integrand.modules import FFJORD, DiffusionModel, FlowMatching, MeanFlow
from integrand.modules.generative import compiling
from integrand.modules.generative.backbones import UNet
from integrand.solvers import Euler
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
SETTINGS = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4}
NET = UNet(**SETTINGS)


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that dynamo hands to its backend, which here runs them as they are."""
    seen = []

    def backend(graph, inputs):
        seen.append(graph)
        return graph.forward

    compiled = torch.compile
    monkeypatch.setattr(compiling.torch, "compile", lambda f: compiled(f, backend=backend))
    yield seen
    torch._dynamo.reset()


def made(family, **options):
    """A family whose zero layers are not zero, in the average too."""
    torch.manual_seed(0)
    module = family(SPEC, backbone=NET, **options)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return module.double()


def trained_once(module):
    """The loss of a batch, the gradients of its weights, and samples of the average."""
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(2)
    loss = module.train().objective(x, None, "train").terms["loss"]
    gradients = torch.autograd.grad(loss, list(module.net.parameters()))
    return loss.detach(), gradients, module.eval().sample(3, seed=4).x


@pytest.mark.parametrize(
    ("family", "options"),
    [
        (DiffusionModel, {}),
        (FlowMatching, {"solver": Euler(num_steps=3)}),
        # their training takes Jacobian products, around which dynamo steps
        (MeanFlow, {"num_steps": 2}),
        (FFJORD, {"solver": Euler(num_steps=3), "train_solver": Euler(num_steps=2)}),
    ],
)
def test_loss_gradients_and_samples_are_those_of_the_plain_family(graphs, family, options):
    plain, compiled = made(family, **options), made(family, **options, compile=True)
    assert list(plain.state_dict()) == list(compiled.state_dict())
    torch.testing.assert_close(trained_once(compiled), trained_once(plain), rtol=1e-10, atol=1e-12)
    assert graphs


def test_network_and_average_are_both_compiled(graphs):
    module = made(FlowMatching, compile=True)
    x, t = torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    for number, net in enumerate((module.net, module.trained), 1):
        net(t, x)
        assert len(graphs) == number
    assert len({module.net, module.trained}) == 2
    without = made(FlowMatching, compile=True, ema=None)
    without.trained(t, x)
    assert len(graphs) == 3


def test_a_bound_on_recompilations_is_shared_with_no_other_network(graphs):
    """Twelve networks, of which dynamo would compile eight if they had one code object."""
    x, t = torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    for number in range(12):
        made(FlowMatching, compile=True, ema=None).net(t, x)
        assert len(graphs) == number + 1


def test_a_compiled_network_cannot_be_split():
    with pytest.raises(UsageError, match="does not stop to gather its parts"):
        made(FlowMatching, compile=True).shards()


@pytest.mark.parametrize("more", [{}, {"patch": 2}, {"attention": False}])
def test_channels_last_lays_out_features_and_changes_no_value(more):
    torch.manual_seed(0)
    plain = UNet(**SETTINGS, **more).build((1, 8, 8)).double()
    last = UNet(**SETTINGS, **more, channels_last=True).build((1, 8, 8)).double()
    with torch.no_grad():
        for p in plain.parameters():
            p.add_(0.1 * torch.randn_like(p))
    last.load_state_dict(plain.state_dict())
    inputs = []
    for part in last.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_pre_hook(lambda part, args: inputs.append((part, args[0])))
    x, t = torch.randn(3, 1, 8, 8, dtype=torch.float64), torch.rand(3, dtype=torch.float64)
    ours, theirs = last(t, x), plain(t, x)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert ours.is_contiguous()
    for part, features in inputs:
        assert features.is_contiguous(memory_format=torch.channels_last), part
        assert part.weight.is_contiguous(memory_format=torch.channels_last), part
    gradients = [
        torch.autograd.grad(y.square().sum(), list(n.parameters()))
        for y, n in ((ours, last), (theirs, plain))
    ]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-10)
