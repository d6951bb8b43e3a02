"""SINDy finds equations that lie in its library, in float64."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from integrand.errors import UsageError
from integrand.modules import SINDy
from integrand.modules.trajectory import sindy
from integrand.modules.trajectory.sindy import Library
from integrand.series import Query, Series
from integrand.spec import Forecast, SeriesSpec

needs_pysindy = pytest.mark.skipif(find_spec("pysindy") is None, reason="pip install 'integrand[sindy]'")
COEFFICIENTS = {"x": {"x": 1.3, "x y": -0.9}, "y": {"y": -1.8, "x y": 0.8}}
"""Lotka and Volterra."""


def rates(y, speed=1.0):
    u, v = y.unbind(-1)
    return speed * torch.stack([1.3 * u - 0.9 * u * v, -1.8 * v + 0.8 * u * v], -1)


def made(**kwargs):
    spec = SeriesSpec("example", Forecast(1, 6), channels=2, length=1, names=("x", "y"), step=0.1)
    return SINDy(spec, **kwargs).double()


def given(values, times):
    batch, n, channels = values.shape
    return Series(
        times,
        values,
        torch.ones(batch, n, channels, dtype=torch.bool),
        torch.full((batch,), n),
        torch.zeros(batch, 0),
    )


def points(batch=60):
    return 0.5 + 2 * torch.rand(batch, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def with_derivatives(speed=1.0):
    y = points()
    empty = torch.zeros(len(y), 0, 2, dtype=torch.float64)
    query = Query(empty[..., 0], empty, empty.bool(), rates(y, speed))
    return given(y[:, None], torch.zeros(len(y), 1, dtype=torch.float64)), query


def found(module):
    table = module.field.coefficients
    return {
        name: {module.field.library.terms[i]: table[i, c].item() for i in table[:, c].nonzero()[:, 0]}
        for c, name in enumerate("xy")
    }


@needs_pysindy
@pytest.mark.parametrize("threshold", [0.05, 0.0])
def test_exact_derivatives_of_a_polynomial_field_give_its_coefficients(threshold):
    module = made(degree=3, threshold=threshold)
    module.fit([with_derivatives()])
    coefficients = torch.zeros(10, 2, dtype=torch.float64)
    for c, column in enumerate(COEFFICIENTS.values()):
        for term, value in column.items():
            coefficients[module.field.library.terms.index(term), c] = value
    # condition of the least squares about 1e4
    torch.testing.assert_close(module.field.coefficients.data, coefficients, rtol=0, atol=1e-10)
    if threshold:
        assert {k: set(v) for k, v in found(module).items()} == {k: set(v) for k, v in COEFFICIENTS.items()}


@needs_pysindy
def test_a_faster_clock_scales_the_coefficients():
    slow, fast = made(), made()
    slow.fit([with_derivatives()])
    fast.fit([with_derivatives(3.0)])
    torch.testing.assert_close(
        fast.field.coefficients.data, 3 * slow.field.coefficients.data, rtol=0, atol=1e-9
    )


@needs_pysindy
def test_values_are_differentiated_along_their_own_times():
    """Polynomials of degree 4 at times of their own: differences of order 4 are exact."""
    times = torch.rand(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(1)
    values = torch.stack([times**4, times], 2)
    x = given(values[:, :2], times[:, :2])
    query = Query(times[:, 2:], values[:, 2:], torch.ones_like(values[:, 2:], dtype=torch.bool))
    query.mask[0, 4:] = False
    states, slopes = sindy._derivatives([(x, query)], made()._differentiation())
    assert states.shape == (6 + 9 + 9, 2)
    np.testing.assert_allclose(slopes[:, 0], 4 * states[:, 1] ** 3, rtol=1e-9)
    np.testing.assert_allclose(slopes[:, 1], 1, rtol=1e-9)


@needs_pysindy
def test_the_equation_found_is_the_one_that_is_solved():
    module = made(degree=2)
    module.fit([with_derivatives()])
    y = points(2)
    asked = torch.tensor([[0.1, 0.2], [0.3, 0.3]], dtype=torch.float64)
    said = module(given(y[:, None], torch.zeros(2, 1, dtype=torch.float64)), asked)
    torch.testing.assert_close(module.field(torch.zeros(()), y), rates(y), rtol=0, atol=1e-9)
    h = 1e-3
    k = y
    for _ in range(100):  # Heun's method, error 1e-7
        k = k + h / 2 * (rates(k) + rates(k + h * rates(k)))
    torch.testing.assert_close(said[0, 0], k[0], rtol=1e-4, atol=1e-4)  # of the solver's tolerance of 1e-5
    assert module.equations() == ["dx/dt = +1.3 x -0.9 x y", "dy/dt = -1.8 y +0.8 x y"]


@needs_pysindy
def test_windows_too_short_for_differences_are_refused():
    y = points(4)
    x, (_, query) = given(y[:, None], torch.zeros(4, 1, dtype=torch.float64)), with_derivatives()
    query = Query(query.times[:4], query.values[:4], query.mask[:4])
    with pytest.raises(UsageError, match="too short"):
        made().fit([(x, query)])


def test_the_candidates_are_what_they_are_called():
    library = Library(["a", "b"], degree=2, frequencies=2)
    y = torch.tensor([[0.3, 2.0]], dtype=torch.float64)
    a, b = y[0]
    expected = {
        "1": 1 + 0 * a, "a": a, "b": b, "a^2": a * a, "a b": a * b, "b^2": b * b,
        "sin(a)": a.sin(), "sin(b)": b.sin(), "cos(a)": a.cos(), "cos(b)": b.cos(),
        "sin(2a)": (2 * a).sin(), "sin(2b)": (2 * b).sin(), "cos(2a)": (2 * a).cos(), "cos(2b)": (2 * b).cos(),
    }  # fmt: skip
    assert library.terms == list(expected)
    torch.testing.assert_close(library(y)[0], torch.stack(list(expected.values())))


def test_the_package_missing_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pysindy", None)
    with pytest.raises(UsageError, match=r"SINDy needs pysindy.*integrand\[sindy\]"):
        made().fit([with_derivatives()])


@pytest.mark.parametrize("wrong", [{"degree": -1}, {"threshold": -0.1}, {"order": 0}])
def test_numbers_out_of_their_domain_are_refused(wrong):
    with pytest.raises(UsageError, match="degree="):
        made(**wrong)


@needs_pysindy
def test_a_fit_takes_one_pass_and_says_the_equation(capsys, tmp_path):
    from lightning.pytorch import Trainer

    from integrand.datamodules.trajectories.lotka_volterra import LotkaVolterra

    sizes = {"trajectories": 4, "val_trajectories": 2, "test_trajectories": 2, "points": 21, "duration": 2.0}
    data = LotkaVolterra(learn="derivatives", **sizes)
    module = SINDy(data.spec, degree=2)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, default_root_dir=tmp_path, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, data)
    said = capsys.readouterr().out.splitlines()
    assert "dprey/dt = +1.3 prey -0.9 prey predators" in said
    assert trainer.validate(module, data, verbose=False)[0]["val/terms"] == 4
    assert (
        trainer.callback_metrics["val/mse"] < 1e-6
    )  # of the solver's tolerance of 1e-5 over 4 units of time
