"""What every registered generative family must keep; a new one is tested by being there."""

import pytest
import torch
from lightning.pytorch import Trainer

from integrand.datamodules import Checkerboard, TwoMoons
from integrand.errors import SpecError
from integrand.modules import families
from integrand.modules.generative.base import GenerativeModule
from integrand.modules.generative.few_steps import FewSteps, LearnedSteps
from integrand.solvers import Dopri5, Euler, count
from integrand.spec import Classes, Density, ImageSpec, VectorSpec

POINTS = VectorSpec("made-up", Density(), 2)
GENERATIVE = [f for f in families() if issubclass(f, GenerativeModule)]

every_generative_family = pytest.mark.parametrize("family", GENERATIVE, ids=lambda f: f.family)


def build(family, spec=POINTS, seed=0, **kwargs):
    torch.manual_seed(seed)
    return family(spec, **kwargs)


def trainer(**kwargs):
    return Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        num_sanity_val_steps=0,
        **kwargs,
    )


def only_learned_steps(family):
    """Whether nothing solves a differential equation of it."""
    return issubclass(family, FewSteps) and not family.uses_solver


def points(n=6):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(1))


def test_the_families_of_the_platform_are_here():
    assert {"cnf", "ffjord", "flow-matching", "rectified-flow"} <= {f.family for f in GENERATIVE}


@every_generative_family
def test_gradients_reach_every_trained_parameter(family):
    module = build(family).train()
    module.objective(points(64), None, "train").terms["loss"].backward()
    for name, parameter in module.net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_generative_family
def test_steps_leave_no_graph_behind(family, graphs_left):
    module = build(family).train()
    assert graphs_left(lambda: module.objective(points(64), None, "train")) == 0


@every_generative_family
def test_the_averaged_weights_are_not_trained(family):
    module = build(family)
    optimizer = module.configure_optimizers()
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in module.net.parameters()}


@every_generative_family
def test_one_seed_gives_one_network_and_one_set_of_samples(family):
    a, b, c = (build(family, seed=s).sample(4, seed=5).x for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(a, build(family).sample(4, seed=6).x)


@every_generative_family
def test_a_sample_does_not_depend_on_its_batch(family):
    module = build(family).double()
    whole = module.sample(300, seed=3).x
    assert whole.shape == (300, 2)
    # float64, and a step size for every sample: only the order of summation differs
    torch.testing.assert_close(module.sample(300, seed=3, batch_size=7).x, whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(module.sample(20, seed=3, start=250).x, whole[250:270], rtol=1e-9, atol=1e-9)


@every_generative_family
def test_reported_evaluations_are_those_made(family):
    module = build(family)
    ode_solvers = (Euler(num_steps=5), Dopri5(rtol=1e-3, atol=1e-3))
    for sampler in (None, *((LearnedSteps(3),) if only_learned_steps(family) else ode_solvers)):
        with count(module.trained) as seen:
            found = module.sample(10, batch_size=10, sampler=sampler)
        assert found.nfe == seen.calls > 0


@every_generative_family
def test_training_reports_the_evaluations_that_it_makes(family, monkeypatch):
    module = build(family).train()
    calls = []
    net = type(module.net)
    for name in ("forward", "linearise"):
        original = getattr(net, name)
        monkeypatch.setattr(
            net, name, lambda self, *args, _f=original, **kw: (calls.append(1), _f(self, *args, **kw))[1]
        )
    outcome = module.objective(points(), None, "train")
    outcome.loss.backward()
    assert sum(s.nfe_forward + s.nfe_backward for s in outcome.solves) == len(calls) > 0
    assert all(s.vjps > 0 for s in outcome.solves)


@every_generative_family
def test_state_dict_round_trip_keeps_both_sets_of_weights(family, tmp_path):
    module, other = build(family, seed=0), build(family, seed=1)
    with torch.no_grad():
        for p in module.net.parameters():
            p.add_(0.1)
    module.average.update_parameters(module.net)
    module.average.update_parameters(build(family, seed=2).net)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(module.sample(3).x, other.sample(3).x)
    for a, b in zip(module.net.parameters(), other.net.parameters(), strict=True):
        assert torch.equal(a, b)
    assert int(other.average.n_averaged) == 2


@every_generative_family
def test_fit_and_test_leave_scores_beside_their_floor(family):
    data = TwoMoons(batch_size=32, train_size=96, val_size=40, test_size=60, seed=0)
    module = build(family, data.spec)
    run = trainer(max_epochs=2)
    run.fit(module, data)
    before = {k: float(v) for k, v in run.callback_metrics.items()}
    assert {"train/loss", "val/loss", "val/sliced_w2", "val/sliced_w2_floor", "val/mmd2"} <= set(before)
    assert before["val/num_samples"] == 20
    # two epochs moved the average away from where it began
    assert int(module.average.n_averaged) == 6
    (scores,) = run.test(module, data, verbose=False)
    wanted = {"test/loss", "test/w2", "test/w2_floor", "test/sample_nfe"}
    assert wanted <= set(scores)
    assert all(torch.isfinite(torch.tensor(v)) for v in scores.values())
    (again,) = run.test(module, data, verbose=False)
    assert scores == again


@every_generative_family
def test_evaluation_needs_gradients_only_where_declared(family):
    """Under inference mode, which the platform leaves on unless the family declares otherwise."""
    data = Checkerboard(test_size=20, eval_batch_size=20)
    module = build(family, data.spec)
    (scores,) = trainer(inference_mode=not family.needs_grad_at_eval).test(module, data, verbose=False)
    assert scores["test/num_samples"] == 10


@every_generative_family
def test_images_of_a_classification_set_are_generated(family):
    spec = ImageSpec("images", Classes(3), (1, 4, 4), bin_widths=(0.25,))
    module = build(family, spec).train()
    assert module.task.name == "generation"
    x = torch.randn(5, 1, 4, 4)
    module.objective(*module.inputs([x, torch.zeros(5, dtype=torch.long)]), "train").terms["loss"].backward()
    assert module.sample(3).x.shape == (3, 1, 4, 4)


@every_generative_family
def test_a_batch_that_contradicts_the_spec_is_refused(family):
    with pytest.raises(SpecError, match=r"\(4, 3\) contradicts the spec of made-up"):
        build(family).step(torch.zeros(4, 3), "train")


@every_generative_family
def test_samples_that_are_not_finite_are_an_error(family):
    module = build(family)
    with torch.no_grad():
        for p in module.trained.parameters():
            p.fill_(float("nan"))
    with pytest.raises(Exception, match="not finite"):
        module.sample(4, sampler=LearnedSteps(2) if only_learned_steps(family) else Euler(num_steps=2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_generative_family
def test_gpu_samples_agree_with_cpu(family):
    module = build(family).double()
    expected = module.sample(8).x
    torch.testing.assert_close(module.cuda().sample(8).x.cpu(), expected, rtol=1e-6, atol=1e-6)
