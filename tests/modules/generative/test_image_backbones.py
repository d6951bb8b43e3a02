"""U-Net and DiT: shapes, independence of samples, conditioning, tangents, sizes."""

import pytest
import torch

from integrand.errors import UsageError
from integrand.modules.generative.backbones import DiT, UNet
from integrand.modules.generative.backbones.embedding import attend
from integrand.modules.generative.cnf import CNF
from integrand.modules.generative.flow_matching import FlowMatching
from integrand.solvers import Euler
from integrand.spec import Classes, ImageSpec

SMALL = {
    "unet": UNet(channels=8, multipliers=(1, 2), blocks=1, groups=4),
    "unet-no-attention": UNet(channels=8, multipliers=(1,), blocks=2, attention=False),
    "unet-patch": UNet(channels=8, multipliers=(1, 2), blocks=1, groups=4, patch=2),
    "dit": DiT(width=16, depth=2, heads=2),
}
every_backbone = pytest.mark.parametrize("backbone", SMALL.values(), ids=SMALL.keys())


def made(backbone, shape=(2, 8, 4), num_classes=0, seed=0):
    """A float64 network whose zero layers are not zero."""
    torch.manual_seed(seed)
    net = backbone.build(shape, num_classes).double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return net


@every_backbone
def test_a_sample_depends_on_itself_alone_and_keeps_its_shape(backbone):
    net = made(backbone)
    x = torch.randn(5, 2, 8, 4, dtype=torch.float64)
    t = torch.rand(5, dtype=torch.float64)
    whole = net(t, x)
    assert whole.shape == x.shape
    for i in range(5):
        torch.testing.assert_close(net(t[i], x[i : i + 1])[0], whole[i], rtol=1e-10, atol=1e-10)
    assert not torch.allclose(net(t.flip(0), x), whole)


@every_backbone
def test_every_pixel_sees_every_other(backbone):
    """Through attention, or through enough convolutions."""
    net = made(backbone, shape=(1, 4, 4))
    x = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(net(torch.tensor(0.5).double(), x)[0, 0, 0, 0], x)
    assert bool((grad != 0).all())


@every_backbone
def test_classes_change_the_output_and_none_is_the_last_label(backbone):
    net = made(backbone, num_classes=3)
    x, t = torch.randn(2, 2, 8, 4, dtype=torch.float64), torch.tensor(0.4).double()
    outs = [net(t, x, torch.full((2,), c)) for c in range(4)]
    for a in range(4):
        for b in range(a):
            assert not torch.allclose(outs[a], outs[b])
    assert torch.equal(net(t, x), outs[3])


@every_backbone
def test_gradients_reach_every_parameter(backbone):
    net = made(backbone, num_classes=2)
    x = torch.randn(6, 2, 8, 4, dtype=torch.float64)
    net(torch.rand(6).double(), x, torch.tensor([0, 1, 2] * 2)).square().sum().backward()
    for name, p in net.named_parameters():
        assert p.grad is not None, name
        assert float(p.grad.abs().sum()) > 0, name


@every_backbone
def test_tangents_are_those_of_finite_differences(backbone):
    net = made(backbone)
    x, v = torch.randn(2, 2, 2, 8, 4, dtype=torch.float64).unbind(0)
    t, eps = torch.tensor(0.3).double(), 1e-6
    value, (along,) = net.linearise(t, x, v.unsqueeze(0))
    torch.testing.assert_close(value, net(t, x))
    differences = (net(t, x + eps * v) - net(t, x - eps * v)) / (2 * eps)
    # central differences in float64: eps² plus 1e-16/eps
    torch.testing.assert_close(along, differences, rtol=1e-5, atol=1e-6)


@every_backbone
def test_a_fresh_network_says_zero(backbone):
    """The last layer starts at zero, so that training starts from the mean prediction."""
    net = backbone.build((1, 8, 8))
    assert torch.equal(net(torch.tensor(0.5), torch.randn(2, 1, 8, 8)), torch.zeros(2, 1, 8, 8))


@pytest.mark.parametrize(
    ("backbone", "shape", "millions"),
    [
        (UNet(), (1, 28, 28), 1.66),
        (UNet(channels=16), (1, 28, 28), 0.42),
        (UNet(channels=16, multipliers=(1, 2), blocks=1, patch=2), (1, 28, 28), 0.18),
        (DiT(), (1, 28, 28), 1.25),
        (DiT(), (3, 32, 32), 1.26),
        (UNet(channels=128, multipliers=(1, 2, 2, 2)), (3, 32, 32), 36.96),
    ],
)
def test_stated_numbers_of_parameters(backbone, shape, millions):
    with torch.device("meta"):
        net = backbone.build(shape)
    count = sum(p.numel() for p in net.parameters()) / 1e6
    assert abs(count - millions) < 0.01


@pytest.mark.parametrize(
    ("shape", "tokens"), [((1, 8, 8), 64), ((1, 28, 28), 49), ((3, 32, 32), 64), ((1, 12, 12), 36)]
)
def test_a_dit_makes_at_most_64_tokens(shape, tokens):
    assert len(DiT(width=8, depth=1, heads=1).build(shape)._places) == tokens


def test_attention_is_torchs():
    q, k, v = torch.randn(3, 2, 4, 7, 5, dtype=torch.float64).unbind(0)
    torch.testing.assert_close(attend(q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNet(multipliers=(1, 2, 2)).build((1, 6, 6)), "cannot be halved 2 times"),
        (lambda: UNet(multipliers=(1, 2), patch=2).build((1, 6, 6)), "3×3 pixels cannot be halved"),
        (lambda: UNet(patch=3).build((1, 8, 8)), "do not tile"),
        (lambda: UNet().build((2,)), "takes images"),
        (lambda: UNet(channels=12, groups=8), "not a multiple"),
        (lambda: UNet(multipliers=()), "make no network"),
        (lambda: UNet(dropout=1.0), "dropout"),
        (lambda: DiT(patch=3).build((1, 8, 8)), "do not tile"),
        (lambda: DiT().build((2,)), "takes images"),
        (lambda: DiT(width=10, heads=4), "cannot be shared"),
    ],
)
def test_what_cannot_be_built_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize("family", [FlowMatching, CNF])
def test_flows_of_images_take_them_too(family):
    spec = ImageSpec("images", Classes(3), (1, 4, 4), bin_widths=(0.25,))
    module = family(spec, backbone=SMALL["dit"], solver=Euler(num_steps=2)).train()
    loss = module.objective(torch.randn(3, 1, 4, 4), None, "train").terms["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert module.sample(2).x.shape == (2, 1, 4, 4)
