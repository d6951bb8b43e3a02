"""Generated trajectories: the equations, what they conserve, and how they are seen."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from integrand.datamodules import load_class
from integrand.datamodules.trajectories import cards
from integrand.datamodules.trajectories.bouncing_ball import BouncingBall
from integrand.datamodules.trajectories.diffusions import GeometricBrownianMotion, OrnsteinUhlenbeck
from integrand.datamodules.trajectories.fields import Burgers, Heat, KuramotoSivashinsky
from integrand.datamodules.trajectories.lorenz import Lorenz
from integrand.datamodules.trajectories.pendulum import Pendulum
from integrand.datamodules.trajectories.spirals import LinearSpiral
from integrand.errors import DataError, UsageError
from integrand.spec import Density

SMALL = {"trajectories": 3, "val_trajectories": 2, "test_trajectories": 2, "points": 11}
SYSTEMS = [load_class(card) for card in cards.CARDS]
every_system = pytest.mark.parametrize("cls", SYSTEMS, ids=lambda c: c.card.name)
RANDOM = {"ornstein-uhlenbeck", "geometric-brownian-motion", "stochastic-lorenz"}
EVENTFUL = {"bouncing-ball"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTEGRAND_CACHE", str(tmp_path))
    for cls in (Lorenz, KuramotoSivashinsky):
        monkeypatch.setattr(cls, "warm_up", 0.5)  # the way onto the attractor is long
    return tmp_path


def small(cls, **kwargs):
    return cls(**{**SMALL, **kwargs})


@every_system
def test_batches_keep_what_the_spec_says(cls):
    data = small(cls, batch_size=2)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        x, *rest = next(iter(loader))
        assert x.times.dtype == torch.float64
        assert x.values.dtype == torch.float32
        assert x.values.shape[-1] == data.spec.channels
        assert x.mask.all()
        if isinstance(data.spec.question, Density):
            assert not rest
        else:
            assert rest[0].values.shape[-1] == data.spec.channels
            assert (rest[0].times[:, 0] > x.end).all()


@every_system
def test_one_seed_gives_one_data_set(cls, cache):
    first, again, other = small(cls), small(cls), small(cls, data_seed=1)
    for data in (first, again, other):
        data.setup()
    assert first.digest == again.digest != other.digest
    assert list((cache / "data" / "generated").glob("*.npz"))


@every_system
def test_rates_are_the_slopes_of_the_trajectories(cls):
    """Central differences of neighbouring observations, second order in their distance."""
    if cls.card.name in RANDOM | EVENTFUL:
        pytest.skip("its paths have no slope everywhere")
    data = small(cls, points=501, noise=0.0)
    r = data.recordings()["train"][0]
    slope = (r.values[2:] - r.values[:-2]) / (r.times[2:] - r.times[:-2])[:, None]
    assert np.abs(slope - r.rates[1:-1]).max() < 0.05 * max(1.0, np.abs(r.rates).max())


@every_system
def test_what_is_conserved_stays(cls):
    data = small(cls)
    recordings = data.recordings()["test"]
    if data.conserved(recordings[0].values) is None:
        return
    for r in recordings:
        energy = data.conserved(r.values)
        # the integrator's tolerance is 1e-12 a step
        assert np.ptp(energy) < 1e-9 * max(1.0, np.abs(energy).max())
    # and differs between trajectories: a constant would pass
    assert data.conserved(recordings[0].values)[0] != data.conserved(recordings[1].values)[0]


def test_the_reference_is_exact_where_a_closed_form_is_known():
    data = small(LinearSpiral)
    for r in data.recordings()["test"]:
        angle, decay = -2 * r.times, np.exp(-0.1 * r.times)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        assert np.allclose(r.values, decay[:, None] * np.einsum("ijt,j->ti", turn, r.values[0]), atol=1e-10)


def test_heat_decays_as_fourier_says():
    data = small(Heat, waves=1, kappa=0.3)
    r = data.recordings()["test"][0]
    assert np.allclose(r.values, np.exp(-0.3 * r.times)[:, None] * r.values[0], atol=1e-12)


def test_burgers_dissipates_energy_at_the_rate_of_its_slopes():
    """d/dt ½∫u² = −ν ∫u_x²: transport alone moves no energy."""
    data = small(Burgers, nu=0.2)
    u = data.recordings()["test"][0].values
    gained = (u * data.rhs(0.0, u)).sum(axis=-1)
    lost = 0.2 * (data.slope(u) ** 2).sum(axis=-1)
    assert np.allclose(gained, -lost, atol=1e-6)


def test_the_exponential_scheme_has_order_four():
    x = np.arange(32) / 32
    u = 2 * np.cos(2 * np.pi * x)[None] + np.sin(4 * np.pi * x)
    u = KuramotoSivashinsky(grid=32).solve(u, np.array([0.0, 20.0]))[:, -1]
    ends = []
    for step in (0.025, 0.0125, 0.00625, 0.0015625):
        data = KuramotoSivashinsky(step=step, grid=32)
        ends.append(data.solve(u, np.array([0.0, 1.0]))[0, -1])
    errors = [np.abs(end - ends[-1]).max() for end in ends[:-1]]
    slopes = np.diff(np.log2(errors))
    # stiff waves come to their order late: 3.4 at step 0.1, 3.8 at 0.0125; a wrong coefficient gives 3 at most
    assert (slopes < -3.7).all(), slopes


def test_a_ball_rises_to_the_square_of_the_restitution():
    data = BouncingBall(**SMALL, restitution=0.8, duration=4.0, eval_duration=4.0)
    times = np.linspace(0, 4, 40_001)
    path = data.solve(np.array([[1.0, 0.0]]), times)[0]
    landed = np.flatnonzero(np.diff(np.sign(path[:, 1])) > 0)
    top = path[landed[0] : landed[1], 0].max()
    assert top == pytest.approx(0.64, abs=1e-6)
    assert (path[:, 0] > -1e-12).all()


def test_scipy_events_agree_with_the_closed_form():
    data = BouncingBall(**SMALL)
    land = lambda t, y: y[0]  # noqa: E731
    land.terminal, land.direction = True, -1
    t, y = 0.0, np.array([1.3, 0.0])
    for _ in range(3):
        done = solve_ivp(lambda t, y: [y[1], -9.81], (t, 9), y, events=land, rtol=1e-12, atol=1e-12)
        t, y = done.t[-1], np.array([0.0, -0.9 * done.y[1, -1]])
    after = data.solve(np.array([[1.3, 0.0]]), np.array([0.0, t + 1e-9]))[0, -1]
    assert after == pytest.approx(y, abs=1e-6)


def test_the_law_of_ornstein_and_uhlenbeck():
    """Mean and variance of 20,000 paths within four standard errors of the closed form."""
    n = 20_000
    data = OrnsteinUhlenbeck(theta=1.5, mu=0.4, sigma=0.7, start_std=0.0, duration=1.0)
    x = data.solve(np.ones((n, 1)), np.array([0.0, 0.3, 1.0]))[:, -1, 0]
    variance = 0.49 * (1 - np.exp(-3.0)) / 3.0
    assert x.mean() == pytest.approx(0.4 + 0.6 * np.exp(-1.5), abs=4 * np.sqrt(variance / n))
    assert x.var() == pytest.approx(variance, abs=4 * variance * np.sqrt(2 / n))


def test_the_law_of_geometric_brownian_motion():
    n = 20_000
    data = GeometricBrownianMotion(mu=0.5, sigma=0.3)
    x = np.log(data.solve(np.ones((n, 1)), np.array([0.0, 0.4, 1.0]))[:, -1, 0])
    assert x.mean() == pytest.approx(0.5 - 0.045, abs=4 * 0.3 / np.sqrt(n))
    assert x.var() == pytest.approx(0.09, abs=4 * 0.09 * np.sqrt(2 / n))


def test_noise_and_missing_values_are_those_of_training_alone():
    data = small(Pendulum, noise=0.1, missing=0.3, context=3, points=101)
    clean = small(Pendulum, context=3, points=101)
    for split in ("train", "test"):
        for noisy, r in zip(data.recordings()[split], clean.recordings()[split], strict=True):
            hidden = np.isnan(noisy.values)
            if split == "test":
                assert np.array_equal(noisy.values, r.values)
                continue
            assert 0.2 < hidden.mean() < 0.4
            assert not hidden[0].any()
            off = (noisy.values - r.values)[~hidden]
            # 140 values: the deviation is known to a sixth
            assert 0.07 < off.std() < 0.13
    assert data.spec.missing


def test_random_times_differ_between_trajectories_and_begin_together():
    data = small(Pendulum, sampling="random")
    first, second, _ = data.recordings()["train"]
    assert first.times[0] == second.times[0] == 0
    assert not np.array_equal(first.times, second.times)
    assert data.spec.irregular
    regular = small(Pendulum).recordings()["train"][0]
    assert np.allclose(np.diff(regular.times), 1.0)


def test_evaluation_goes_on_behind_the_span_of_training():
    data = small(Pendulum)
    assert data.recordings()["train"][0].times[-1] == 10
    assert data.recordings()["test"][0].times[-1] == 20
    _, query = next(iter(data.test_dataloader()))
    assert query.times[0, -1] == 20


def test_a_driven_pendulum_knows_the_time():
    assert small(Pendulum).spec.autonomous
    data = small(Pendulum, amplitude=0.5, stride=3, horizon=3)
    assert not data.spec.autonomous
    x, _ = next(iter(data.train_dataloader()))
    assert len(x.times[:, 0].unique()) == 4


def test_training_on_derivatives_gives_single_observations():
    data = small(Pendulum, learn="derivatives")
    x, query = next(iter(data.train_dataloader()))
    assert query.times.shape[1] == 0
    q, p = x.values[:, 0].T.double()
    assert torch.allclose(query.rates.double(), torch.stack([p, -q.sin()], dim=1), atol=1e-6)
    assert next(iter(data.test_dataloader()))[1].rates is None


@pytest.mark.parametrize(
    ("kwargs", "error", "said"),
    [
        ({"trajectories": 0}, UsageError, "0 train trajectories"),
        ({"duration": -1.0}, UsageError, "duration=-1.0"),
        ({"points": 1}, UsageError, "points=1"),
        ({"noise": -0.1}, UsageError, "noise=-0.1"),
        ({"missing": 0.2}, UsageError, "with one observation given → set data.context"),
        ({"sampling": "sometimes"}, UsageError, "unknown sampling"),
        ({"context": 0}, UsageError, "context=0"),
        ({"learn": "derivatives", "context": 2}, UsageError, "belong to one observation"),
        ({"learn": "nothing"}, UsageError, "unknown learn"),
        ({"drop": 1.0}, UsageError, "drop=1.0"),
        ({"context": 200}, UsageError, "nothing is left to ask for after 200 given → set data.context to"),
        ({"swing": np.nan}, UsageError, "swing=nan makes no equation → set data.swing to a finite number"),
        ({"stiffness": np.inf}, UsageError, "stiffness=inf makes no equation"),
    ],
)
def test_what_makes_no_data_is_refused(kwargs, error, said):
    with pytest.raises(error, match=said):
        small(Pendulum, **kwargs).setup()


class Explosive(LinearSpiral):
    def solve(self, starts, times):
        states = super().solve(starts, times)
        states[1, 4:] = self.value
        return states


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e39])
def test_a_trajectory_that_leaves_the_numbers_is_named_and_not_kept(value, cache, monkeypatch):
    monkeypatch.setattr(Explosive, "value", value, raising=False)
    said = r"train trajectory 2 holds NaN, or values beyond ±3e\+38, from t = \d"
    with pytest.raises(DataError, match=said) as caught:
        small(Explosive).setup()
    assert "data.duration" in caught.value.remedy
    assert not list(cache.rglob("*.npz"))


class NotANumber(LinearSpiral):
    def rhs(self, t, x):
        return np.sqrt(-1 - x**2)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_an_equation_that_gives_nan_ends(cache):
    with pytest.raises(DataError, match=r"gives NaN or infinity at t = 0, x = \("):
        small(NotANumber).setup()
