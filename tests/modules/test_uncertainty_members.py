"""Families built from networks of another: deep ensembles, SWAG and evidential networks."""

import math

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch.distributions import Dirichlet
from torch.nn import functional as F

from integrand.datamodules import Digits
from integrand.errors import UsageError
from integrand.modules import SWAG, DeepEnsemble, EnResNet, Evidential, NoBlock, ParabolicCNN, ResNet, TayNODE
from integrand.modules.noise import Dropout
from integrand.modules.uncertainty.evidential import misleading, squared_risk
from integrand.modules.uncertainty.swag import Iterates
from integrand.solvers import SolveStats
from integrand.spec import Classes, ImageSpec, Targets, VectorSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(6, 1, 8, 8, generator=GENERATOR)
Y = torch.tensor([0, 1, 2, 0, 1, 2])
ALL = [DeepEnsemble, SWAG, Evidential]


def resnet(spec, **options):
    return ResNet(spec, **{"channels": 4, "blocks": 1, **options})


def noisy(spec, **options):
    return resnet(spec, noise=Dropout(0.3, samples=2), **options)


def build(family, member=resnet, seed=0, spec=SPEC, **options):
    torch.manual_seed(seed)
    return family(spec, member, **options)


@pytest.mark.parametrize("family", ALL, ids=lambda f: f.family)
class TestEvery:
    def test_its_prediction_is_what_its_draws_pool(self, family):
        module = build(family).eval()
        said, solves = module.draws(X, 7)
        assert said.shape == (module.components, 6, 3)
        torch.testing.assert_close(torch.softmax(module(X), -1), torch.softmax(said, -1).mean(0))
        assert SolveStats.total(solves).nfe_forward == module.components  # one block each
        outcome = module.step((X, Y), "val")
        torch.testing.assert_close(
            outcome.terms["loss"], F.nll_loss(torch.softmax(said, -1).mean(0).log(), Y)
        )
        assert SolveStats.total(outcome.solves).nfe_forward == module.components

    def test_members_that_draw_give_as_many_as_one_asks_for(self, family):
        module = build(family, noisy).eval()
        assert module.components is None
        said, _ = module.draws(X, 7)
        assert said.shape == (7, 6, 3)
        assert (torch.cdist(said.flatten(1), said.flatten(1)) + torch.eye(7)).min() > 1e-6

    def test_width_reaches_the_members(self, family):
        module = build(family, channels=6)
        assert module.networks[0].net.dynamics.out_channels == 6

    def test_training_reaches_every_weight(self, family):
        module = build(family).train()
        module.step((X, Y), "train").loss.backward()
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name

    def test_what_trains_in_its_own_way_is_refused(self, family):
        class OwnWay(NoBlock):
            def __init__(self, spec, **kwargs):
                super().__init__(spec, **kwargs)
                self.automatic_optimization = False

        with pytest.raises(UsageError, match="OwnWay trains in a way of its own"):
            build(family, OwnWay)

    def test_penalties_of_members_are_trained_on(self, family):
        def loss(weight):
            def regularised(spec, **options):
                return TayNODE(spec, channels=4, order=2, intervals=2, taylor=weight, **options)

            return build(family, regularised).train().step((X, Y), "train").loss

        torch.testing.assert_close(loss(2.0) - loss(0.0), 2 * (loss(1.0) - loss(0.0)))
        assert loss(1.0) > loss(0.0)


# ---------------------------------------------------------------------- deep ensemble


def test_members_start_from_independent_weights_and_the_first_is_the_single_net():
    module = build(DeepEnsemble, size=3)
    torch.manual_seed(0)
    alone = resnet(SPEC)
    for mine, its in zip(module.members[0].parameters(), alone.parameters(), strict=True):
        assert torch.equal(mine, its)
    # the bench gives equal seeds equal stems: members must not share theirs
    stems = [m.net.stem[0].weight for m in module.members]
    assert all(
        not torch.equal(a, b) for a, b in [(stems[0], stems[1]), (stems[1], stems[2]), (stems[0], stems[2])]
    )


def test_each_member_has_the_gradient_that_it_would_have_alone():
    module = build(DeepEnsemble, size=2).train()
    module.step((X, Y), "train").loss.backward()
    twin = build(DeepEnsemble, size=2).members[1].train()
    twin.step((X, Y), "train").loss.backward()
    for mine, alone in zip(module.members[1].parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, alone.grad)


def test_order_of_members_changes_nothing_and_jensen_holds():
    module = build(DeepEnsemble, size=3).eval()
    single = torch.stack([m.step((X, Y), "val").loss for m in module.members])
    loss = module.step((X, Y), "val").loss
    assert loss < single.mean()
    module.members = torch.nn.ModuleList(reversed(list(module.members)))
    torch.testing.assert_close(module.step((X, Y), "val").loss, loss)


def test_numbers_are_averaged():
    spec = VectorSpec("made-up", Targets(("a",)), 4)
    module = build(DeepEnsemble, spec=spec, size=2).eval()
    x = torch.randn(5, 4)
    torch.testing.assert_close(module(x), (module.members[0](x) + module.members[1](x)) / 2)


# ---------------------------------------------------------------------- EnResNet


def test_one_net_without_noise_is_the_resnet():
    module = build(EnResNet, size=1, coef=0.0).eval()
    torch.manual_seed(0)
    assert torch.equal(module(X), resnet(SPEC).eval()(X))
    assert not module.stochastic
    assert module.components == 1


def test_nets_are_trained_on_the_loss_of_their_mean_logits():
    module = build(EnResNet, size=3, coef=0.0).train()
    logits = torch.stack([m(X) for m in module.members])
    outcome = module.step((X, Y), "train")
    torch.testing.assert_close(outcome.loss, F.cross_entropy(logits.mean(0), Y))
    # another loss than that of a deep ensemble
    alone = torch.stack([F.cross_entropy(one, Y) for one in logits]).mean()
    assert (outcome.loss - alone).abs() > 1e-4
    outcome.loss.backward()
    assert all(p.grad is not None for p in module.parameters())


def test_penalties_of_all_nets_are_trained_on():
    def smooth(spec, **options):
        return ParabolicCNN(spec, **{"channels": 4, "blocks": 2, "smoothness": 1.0, **options})

    module = build(EnResNet, smooth, size=2, coef=0.0).train()
    terms = module.step((X, Y), "train").terms
    alone = [m.step((X, Y), "train").terms for m in module.members]
    for name in set(alone[0]) - {"loss"}:
        torch.testing.assert_close(terms[name], alone[0][name] + alone[1][name])
    assert len(terms) == 2


def test_evaluation_is_noisy_and_each_draw_is_a_pass_of_one_net():
    module = build(EnResNet, coef=0.3).eval()
    assert module.components is None
    assert not torch.equal(module(X), module(X))
    said, solves = module.draws(X, 5)
    assert said.shape == (5, 6, 3)
    assert SolveStats.total(solves).nfe_forward == 5


# ---------------------------------------------------------------------- SWAG


def seen(number, size=3, rank=4):
    """Iterates of a random walk and what was collected of them."""
    walk = torch.randn(number, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64).cumsum(
        0
    )
    iterates = Iterates(size, rank).double()
    for theta in walk:
        iterates.see(theta)
    return walk, iterates


def test_iterates_have_their_moments_and_the_last_deviations():
    walk, iterates = seen(7)
    torch.testing.assert_close(iterates.mean, walk.mean(0))
    torch.testing.assert_close(iterates.squares / 7, walk.var(0, correction=0))
    kept = {tuple(d.tolist()) for d in iterates.deviations.round(decimals=9)}
    means = [walk[: n + 1].mean(0) for n in range(7)]
    assert kept == {tuple((walk[n] - means[n]).round(decimals=9).tolist()) for n in range(3, 7)}


@pytest.mark.parametrize("number", [3, 7], ids=["fewer-than-rank", "more"])
def test_draws_have_the_covariance_of_the_paper(number):
    walk, iterates = seen(number)
    n, k = 20_000, min(number, 4)
    draws = torch.stack([iterates.draw(seed, scale=0.5) for seed in range(n)])
    d = iterates.deviations[:k]
    expected = 0.5 * 0.5 * (torch.diag(walk.var(0, correction=0)) + d.T @ d / (k - 1))
    size = expected.diagonal().max()
    # entries of a sample covariance scatter by at most √(2/n) of the largest variance
    torch.testing.assert_close(draws.T.cov(), expected, rtol=0, atol=float(5 * math.sqrt(2 / n) * size))
    torch.testing.assert_close(draws.mean(0), walk.mean(0), rtol=0, atol=float(5 * (size / n).sqrt()))


def test_scale_is_of_the_covariance():
    _, iterates = seen(7)
    one, four = (iterates.draw(3, scale) - iterates.mean for scale in (1.0, 4.0))
    torch.testing.assert_close(four, 2 * one)
    assert torch.equal(iterates.draw(3, 0.0), iterates.mean)


def fit(module, epochs, **options):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_train_batches=3,
        limit_val_batches=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    trainer.fit(module, datamodule=Digits(batch_size=64))
    return trainer


def swag(**options):
    seed_everything(0, verbose=False)
    return SWAG(Digits().spec, resnet, samples=2, rank=3, refresh=2, **options)


def test_a_fit_collects_at_the_end_of_the_last_epochs():
    module = swag(start=0.5, rate=0.02)
    kept = []
    see = module.iterates.see
    module.iterates.see = lambda theta: kept.append(theta.clone()) or see(theta)
    trainer = fit(module, 4)
    assert len(kept) == 2
    assert not torch.equal(kept[0], kept[1])
    torch.testing.assert_close(module.iterates.mean, torch.stack(kept).mean(0))
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.02
    # drawn weights, and statistics that no other net has
    for number, net in enumerate(module.drawn):
        weights = torch.nn.utils.parameters_to_vector(net.parameters())
        torch.testing.assert_close(weights, module.iterates.draw(number))
        norm = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm1d))
        own = next(m for m in module.network.modules() if isinstance(m, torch.nn.BatchNorm1d))
        assert norm.num_batches_tracked == 2
        assert norm.momentum == own.momentum
        assert not torch.equal(norm.running_mean, own.running_mean)
    assert module.eval().components == 2


def test_validation_begins_with_the_distribution():
    module = swag(start=0.5)
    measured = []
    record = FamilyRecord(module, measured)
    module.record = record
    fit(module, 2)
    assert measured == [False, True]


class FamilyRecord:
    """Whether the metrics of each validation batch were logged."""

    def __init__(self, module, measured):
        self.record, self.module, self.measured = module.record, module, measured

    def __call__(self, outcome, stage):
        logged = []
        log = self.module.log
        self.module.log = lambda name, *args, **kwargs: logged.append(name) or log(name, *args, **kwargs)
        self.record(outcome, stage)
        self.module.log = log
        if stage == "val":
            self.measured.append(bool(logged))


def test_drawing_leaves_the_training_as_it_was():
    """Weights of the network after a fit with and without draws in between."""
    ends = []
    for often in (1, 4):
        module = swag(start=0.5)
        fit(module, 4, check_val_every_n_epoch=often)
        ends.append(torch.nn.utils.parameters_to_vector(module.network.parameters()))
    assert torch.equal(*ends)


# ---------------------------------------------------------------------- evidential network


def test_no_evidence_is_uniform_and_costs_no_divergence():
    alpha = torch.ones(2, 4, dtype=torch.float64)
    truth = torch.tensor([0, 3])
    assert torch.equal(misleading(alpha, truth), torch.zeros(2, dtype=torch.float64))
    # E‖y − p‖² of a uniform p on the simplex: (1 − 2/K) + Σ E p² = ½ + 4 · 2/(4 · 5)
    torch.testing.assert_close(squared_risk(alpha, truth), torch.full((2,), 0.9, dtype=torch.float64))


def test_risk_and_divergence_are_those_of_the_dirichlet_law():
    alpha = torch.tensor([[2.0, 5.0, 1.5]], dtype=torch.float64)
    truth = torch.tensor([1])
    torch.manual_seed(0)
    p = Dirichlet(alpha[0]).sample((200_000,))
    errors = (p - F.one_hot(truth, 3)).square().sum(1)
    assert squared_risk(alpha, truth).item() == pytest.approx(
        errors.mean().item(), abs=5 * errors.std().item() / math.sqrt(len(p))
    )
    # evidence for the true class costs nothing: α̃ = (2, 1, 1.5)
    rest = Dirichlet(torch.tensor([2.0, 1.0, 1.5], dtype=torch.float64))
    q = rest.sample((200_000,))
    ratio = rest.log_prob(q) - Dirichlet(torch.ones(3, dtype=torch.float64)).log_prob(q)
    assert misleading(alpha, truth).item() == pytest.approx(
        ratio.mean().item(), abs=5 * ratio.std().item() / math.sqrt(len(q))
    )


def test_it_says_the_mean_of_its_dirichlet_law_and_doubts_by_its_vacuity():
    module = build(Evidential).eval()
    evidence = F.softplus(module.network(X))
    alpha = 1 + evidence
    torch.testing.assert_close(module.task.answer(module(X)), alpha / alpha.sum(1, keepdim=True))
    torch.testing.assert_close(module.doubts(X)["vacuity"], 3 / (3 + evidence.sum(1)))


def test_the_divergence_comes_in_over_the_first_batches():
    module = build(Evidential, anneal=4, weight=2.0)
    module._seen = lambda: 1
    outcome = module.eval().step((X, Y), "train")
    alpha = module(X).exp()
    torch.testing.assert_close(outcome.terms["misleading"], 2.0 * 0.25 * misleading(alpha, Y).mean())
    torch.testing.assert_close(outcome.terms["loss"], squared_risk(alpha, Y).mean())
    torch.testing.assert_close(
        module.step((X, Y), "val").loss, F.nll_loss((alpha / alpha.sum(1, keepdim=True)).log(), Y)
    )


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        (DeepEnsemble, {"size": 1}, "size must be 2 or more"),
        (SWAG, {"start": 1.0}, "model.start in"),
        (SWAG, {"samples": 0}, "model.samples"),
        (Evidential, {"anneal": -1}, "model.anneal"),
    ],
)
def test_options_out_of_their_domain_are_refused(family, options, message):
    with pytest.raises(UsageError) as caught:
        build(family, **options)
    assert message in f"{caught.value} {caught.value.remedy}"
