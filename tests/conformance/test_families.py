"""What every registered family must keep: a new file in modules/ is tested by being there."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional as F

from integrand.errors import SpecError
from integrand.modules import GROUPS, families
from integrand.solvers import Dopri5, TorchDiffEq, count
from integrand.spec import DataSpec

REPOSITORY = Path(__file__).resolve().parents[2]
SPEC = DataSpec("made-up", "image-classification", (1, 8, 8), num_classes=3)
IMAGE_FAMILIES = [f for f in families() if f.task == "image-classification"]
SOLVED = [f for f in IMAGE_FAMILIES if f.uses_solver]

every_family = pytest.mark.parametrize("family", families(), ids=lambda f: f.family)
every_image_family = pytest.mark.parametrize("family", IMAGE_FAMILIES, ids=lambda f: f.family)
every_solved_family = pytest.mark.parametrize("family", SOLVED, ids=lambda f: f.family)


def build(family, seed=0, **kwargs):
    torch.manual_seed(seed)
    return family(SPEC, channels=8, **kwargs)


def batch(size=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, *SPEC.input_shape, generator=generator, dtype=dtype)
    return x, torch.randint(SPEC.num_classes, (size,), generator=generator)


@every_family
def test_declares_what_listings_show(family):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", family.family)
    assert family.group in GROUPS
    assert family.title
    assert family.equation
    assert family.reference
    assert family.monitor_mode in {"min", "max"}
    assert family.uses_solver == ("solver" in inspect.signature(family.__init__).parameters)


@every_family
def test_has_a_config_and_a_row_in_the_docs(family):
    config = REPOSITORY / "configs" / "model" / f"{family.family.replace('-', '_')}.yaml"
    assert yaml.safe_load(config.read_text())["class_path"] == family.__name__
    rows = (REPOSITORY / "docs" / "families.md").read_text()
    assert f"| `{family.__name__}` |" in rows


@every_image_family
def test_logits_have_the_shape_of_the_classes(family):
    x, _ = batch()
    assert build(family)(x).shape == (5, 3)


@every_image_family
def test_gradients_reach_every_parameter(family):
    # what a stochastic family drops in training is all there in evaluation
    module = build(family).train(not family.stochastic)
    x, y = batch()
    F.cross_entropy(module(x), y).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_image_family
def test_one_seed_gives_one_network_and_one_output(family):
    x, _ = batch()
    outputs = []
    for seed in (0, 0, 1):
        module = build(family, seed)
        torch.manual_seed(7)  # what a stochastic family draws
        outputs.append(module(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@every_image_family
def test_equal_seeds_give_every_family_the_same_stem(family):
    reference = build(IMAGE_FAMILIES[0]).net.stem.state_dict()
    for name, value in build(family).net.stem.state_dict().items():
        assert torch.equal(value, reference[name]), name


@every_image_family
def test_training_mode_differs_only_where_declared(family):
    module = build(family).double()
    x, _ = batch(dtype=torch.float64)
    first = module.train()(x)
    # a family that draws from few possibilities may draw the same one twice, but not seven times
    same = all(torch.equal(first, module(x)) for _ in range(7))
    assert same != family.stochastic
    if not family.stochastic:
        assert torch.equal(module.train()(x), module.eval()(x))


@every_image_family
def test_reported_forward_evaluations_are_those_made(family):
    module = build(family)
    x, _ = batch()
    with count(*module.net.dynamics.residuals()) as seen:
        module(x)
    assert module.solve_stats[-1].nfe_forward == seen.calls


@every_image_family
def test_reported_backward_evaluations_are_those_made_by_default(family):
    module = build(family)
    x, y = batch()
    with count(*module.net.dynamics.residuals()) as seen:
        loss = F.cross_entropy(module(x), y)
        forward = seen.calls
        loss.backward()
    stats = module.solve_stats[-1]
    assert stats.nfe_backward == seen.calls - forward
    assert (stats.vjps > 0) == (forward > 0)
    if family.reversible:
        assert stats.nfe_backward == forward


GRADIENT_MODES = {
    f"{engine.__name__}-{gradient}-{name}": engine(**steps, gradient=gradient)
    for engine in (TorchDiffEq, Dopri5)
    for gradient in engine.gradients
    for name, steps in {"adaptive": {}, "fixed": {"num_steps": 4}}.items()
    if engine is Dopri5 or name == "adaptive"
} | {f"rk4-{g}": TorchDiffEq(method="rk4", num_steps=4, gradient=g) for g in TorchDiffEq.gradients}
"""Every way to get a gradient, by adaptive and by fixed steps."""


@pytest.mark.parametrize("solver", GRADIENT_MODES.values(), ids=GRADIENT_MODES.keys())
@every_solved_family
def test_reported_backward_evaluations_are_those_made(family, solver):
    module = build(family, solver=solver)
    x, y = batch()
    with count(*module.net.dynamics.residuals()) as seen:
        loss = F.cross_entropy(module(x), y)
        forward = seen.calls
        loss.backward()
    stats = module.solve_stats[-1]
    assert stats.nfe_forward == forward
    assert stats.nfe_backward == seen.calls - forward
    assert (stats.nfe_backward > 0) == (solver.gradient != "backprop")  # the others evaluate again
    assert stats.vjps > 0


@every_image_family
def test_state_dict_round_trip_is_exact(family, tmp_path):
    module, other = build(family, 0), build(family, 1)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    x, _ = batch()
    torch.manual_seed(7)
    expected = module.eval()(x)
    torch.manual_seed(7)
    assert torch.equal(other.eval()(x), expected)


@every_image_family
def test_trajectory_starts_at_the_state_and_ends_where_the_head_reads(family):
    module = build(family).eval()
    x, _ = batch()
    ts, ys = module.trajectory(x)
    assert len(ts) == len(ys) >= 2
    assert (ts[1:] > ts[:-1]).all()
    torch.manual_seed(7)
    logits = module(x)
    # an adaptive solver steps differently between more output times: agreement to its tolerance of 1e-3
    torch.testing.assert_close(module.net.head(ys[-1]), logits, rtol=1e-2, atol=1e-2)


@every_image_family
def test_a_batch_that_contradicts_the_spec_is_refused(family):
    with pytest.raises(SpecError, match=r"\(2, 3, 8, 8\) contradicts the spec of made-up"):
        build(family)(torch.zeros(2, 3, 8, 8))


@every_family
def test_a_data_set_of_another_task_is_refused(family):
    other = "density" if family.task != "density" else "time-series"
    with pytest.raises(SpecError, match=f"is for {family.task}, but the data set x is for {other}"):
        family(DataSpec("x", other, (1, 8, 8), num_classes=3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_image_family
def test_gpu_agrees_with_cpu(family):
    module = build(family).double().eval()
    x, _ = batch(dtype=torch.float64)
    expected = module(x)
    # float64 on both sides: only the order of summation and, for adaptive solvers, round-off in the step differ
    torch.testing.assert_close(module.cuda()(x.cuda()).cpu(), expected, rtol=1e-6, atol=1e-6)
