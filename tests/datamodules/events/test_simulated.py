"""Simulated events: their law, its likelihood, and what is refused."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from integrand.datamodules import load_class
from integrand.datamodules.events import cards
from integrand.datamodules.events.hawkes import Hawkes
from integrand.datamodules.events.poisson_process import PoissonProcess
from integrand.datamodules.events.self_correcting import SelfCorrecting
from integrand.errors import UsageError
from integrand.spec import Events

CLASSES = [load_class(card) for card in cards.CARDS if card.name != "csv-events"]
every_process = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.card.name)
MUTUAL = {"kinds": 2, "mu": 0.3, "alpha": 0.4, "cross": 0.3, "beta": 1.1}
CASES = [
    (PoissonProcess, {"rate": 0.8}),
    (PoissonProcess, {"rate": 0.4, "kinds": 2}),
    (Hawkes, {}),
    (Hawkes, MUTUAL),
    (SelfCorrecting, {"mu": 0.7, "alpha": 0.5}),
]
every_case = pytest.mark.parametrize(("cls", "options"), CASES)


def small(cls, **kwargs):
    return cls(**{"sequences": 4, "val_sequences": 2, "test_sequences": 3, "duration": 15.0, **kwargs})


def rate(data, t, times, kinds):
    """λ of each kind at times t of shape (m,), from its definition; shape (m, kinds)."""
    t = np.atleast_1d(t)
    past = times < t[:, None]
    if isinstance(data, PoissonProcess):
        return np.full((len(t), data.number), data.rate)
    if isinstance(data, SelfCorrecting):
        return np.exp(data.mu * t - data.alpha * past.sum(axis=1))[:, None]
    left = np.where(past, np.exp(-data.beta * np.abs(t[:, None] - times)), 0.0)
    return data.mu + left @ data.excites[:, kinds].T


def gone(data, a, b, times, kinds):
    """∫ Σ λ dt from a to b, between which nothing happens, by the Gauss–Legendre rule of ten nodes."""
    nodes, weights = np.polynomial.legendre.leggauss(10)
    at = a + (b - a) * (nodes + 1) / 2
    return (b - a) / 2 * (weights @ rate(data, at, times, kinds).sum(axis=1))


def seen(recording):
    """Times and kinds of the events."""
    row, kinds = np.nonzero(~np.isnan(recording.values))
    return recording.times[row], kinds


@every_process
def test_batches_keep_what_the_spec_says(cls):
    data = small(cls)
    spec = data.spec
    assert isinstance(spec.question, Events)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        (x,) = next(iter(loader))
        assert x.values.shape[-1] == spec.channels == len(spec.names)
        assert x.times.shape[1] <= spec.length
        assert torch.equal(x.values, x.mask.to(x.values))
        assert (x.times[:, 0] == 0).all()
        assert (x.end == 15.0).all()
        assert not x.mask[:, 0].any()
        assert not x.mask[torch.arange(len(x)), x.lengths - 1].any()
        inner = torch.arange(x.times.shape[1]) < (x.lengths - 1)[:, None]
        inner[:, 0] = False
        assert (x.mask.sum(-1) == inner).all()  # one kind each
    assert data.sizes == {"n_train": 4, "n_val": 2, "n_test": 3}


@every_process
def test_one_seed_gives_one_data_set_and_more_sequences_leave_the_first(cls):
    first, again, other = small(cls), small(cls, seed=3), small(cls, data_seed=1)
    for data in (first, again, other):
        data.setup()
    assert first.digest == again.digest != other.digest
    more = small(cls, sequences=6).recordings()["train"]
    assert np.array_equal(more[3].times, first.recordings()["train"][3].times)


@every_case
def test_the_likelihood_is_that_of_the_definition(cls, options):
    """Log L = Σ log λ(tᵢ) − ∫ λ dt; the quadrature of the exponentials between events is good to 1e-9."""
    data = small(cls, **options)
    (x,) = next(iter(data.test_dataloader()))
    found = data.log_likelihood(x)
    for i, recording in enumerate(data.recordings()["test"]):
        (times, kinds), edges = seen(recording), recording.times
        expected = np.log(rate(data, times, times, kinds)[np.arange(len(times)), kinds]).sum()
        expected -= sum(gone(data, a, b, times, kinds) for a, b in pairwise(edges))
        assert float(found[i]) == pytest.approx(expected, rel=1e-9)


@every_case
def test_rescaled_gaps_are_exponential(cls, options):
    """∫ λ dt between events is Exp(1) (Papangelou 1972); farther than 1.63/√n once in a hundred times."""
    data = small(cls, sequences=25, duration=40.0, **options)
    gaps, passed = [], 0.0  # windows behind one another: no gap is cut short
    for recording in data.recordings()["train"]:
        times, kinds = seen(recording)
        for a, b in pairwise(recording.times):
            passed += gone(data, a, b, times, kinds)
            if b < data.duration:
                gaps.append(passed)
                passed = 0.0
    shares = np.sort(-np.expm1(-np.array(gaps)))
    n = len(shares)
    assert n > 400
    assert np.abs(shares - (np.arange(n) + 0.5) / n).max() < 1.63 / math.sqrt(n)


def test_kinds_come_in_proportion_to_their_rates():
    """An event of a kind that is excited is more often of that kind: Σ (hit − λₖ/Σλ) has mean 0."""
    data = small(Hawkes, sequences=40, duration=40.0, **MUTUAL)
    over, variance = 0.0, 0.0
    for recording in data.recordings()["train"]:
        times, kinds = seen(recording)
        rates = rate(data, times, times, kinds)
        share = rates[:, 0] / rates.sum(axis=1)
        over += (((kinds == 0) - share) * np.sign(rates[:, 0] - rates[:, 1])).sum()
        variance += (share * (1 - share))[rates[:, 0] != rates[:, 1]].sum()
    assert abs(over) < 4 * math.sqrt(variance)


@pytest.mark.parametrize(
    ("cls", "options", "said"),
    [
        (Hawkes, {"alpha": 1.0}, "or events never end"),
        (Hawkes, {"kinds": 3, "cross": 0.2}, "or events never end"),
        (Hawkes, {"mu": math.nan}, "mu=nan"),
        (Hawkes, {"beta": math.inf}, "beta=inf"),
        (PoissonProcess, {"rate": 0.0}, "rate=0"),
        (PoissonProcess, {"rate": 1e6}, "more than 100000 events → shorten data.duration"),
        (SelfCorrecting, {"kinds": 2}, "kinds=2 → give positive numbers, and one kind"),
        (SelfCorrecting, {"alpha": -1.0}, "alpha=-1"),
        (SelfCorrecting, {"duration": math.inf}, "duration=inf"),
        (PoissonProcess, {"val_sequences": 0}, "'val': 0"),
    ],
)
def test_what_makes_no_events_is_refused(cls, options, said):
    with pytest.raises(UsageError, match=said):
        small(cls, **options).setup()


@every_case
def test_the_intensity_arrives_by_its_definition_and_jumps_at_each_event(cls, options):
    data = small(cls, **options)
    data.setup("test")
    (x,) = next(iter(data.test_dataloader()))
    found = data.intensity(x).numpy()
    for i, (times, mask) in enumerate(zip(x.times.numpy(), x.mask.numpy(), strict=True)):
        row, kinds = np.nonzero(mask)
        arrives, leaves = found[i, :, 0], found[i, :, 1]
        # rows behind the last one repeat its time, and hold no event
        n = int(x.lengths[i])
        np.testing.assert_allclose(arrives[:n], rate(data, times[:n], times[row], kinds), rtol=1e-10)
        jump = np.zeros_like(arrives)
        if isinstance(data, Hawkes):
            jump[row] = data.excites[:, kinds].T
        if isinstance(data, SelfCorrecting):
            jump[row] = np.expm1(-data.alpha) * arrives[row]
        np.testing.assert_allclose(leaves - arrives, jump, rtol=1e-9, atol=1e-12)
