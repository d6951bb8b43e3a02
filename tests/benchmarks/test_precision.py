"""`integrand bench precision`: problems with known ends, comparison at equal error, complete rows."""

import json
import math

import pytest
import torch

from integrand.benchmarks.precision_curves import compare
from integrand.benchmarks.precision_problems import PROBLEMS
from integrand.benchmarks.precision_solvers import PAIRS, Run, by_scipy, by_torchdiffeq, ours
from integrand.cli.bench import run

BY_NAME = {p.name: p for p in PROBLEMS}


def sawtooth(y=110.0):
    """y' = 55 - k y with k = 3/2 and 1/2 in turn, over 19 units and a half."""
    for n in range(20):
        k, length = (1.5 if n % 2 == 0 else 0.5), min(1.0, 19.5 - n)
        y = 55 / k + (y - 55 / k) * math.exp(-k * length)
    return [y]


def heat():
    a = -2 * torch.eye(10, dtype=torch.float64)
    a += torch.diag(torch.ones(9, dtype=torch.float64), 1) + torch.diag(
        torch.ones(9, dtype=torch.float64), -1
    )
    return torch.linalg.matrix_exp(20 * a)[:, 0].tolist()


@pytest.mark.parametrize(
    ("name", "end", "atol"),
    [
        ("y cos t", [math.exp(math.sin(20))], 1e-12),
        ("discontinuous", sawtooth(), 1e-9),
        ("heat", heat(), 1e-12),
        # the orbit closes; it amplifies errors by 1e5 on the way
        ("Arenstorf", [0.994, 0.0, 0.0, -2.00158510637908252240537862224], 1e-7),
        # first entries of the test set for IVP solvers, Mazzia and Magherini (2008)
        ("Pleiades", [0.3706139143970502, 3.237284092057233, -3.222559032418324], 1e-9),
    ],
)
def test_ends_that_are_known(name, end, atol):
    exact = BY_NAME[name].exact[: len(end)]
    torch.testing.assert_close(exact, torch.tensor(end, dtype=torch.float64), rtol=0, atol=atol)


@pytest.mark.parametrize("name", ["Kepler 0.5", "Kepler 0.9"])
def test_keplers_energy(name):
    problem = BY_NAME[name]
    for y in (torch.tensor(problem.y0), problem.exact):
        assert float(y[2:].square().sum() / 2 - 1 / y[:2].norm()) == pytest.approx(-0.5, abs=1e-6)


def test_twelve_problems_all_different():
    assert len(PROBLEMS) == len({p.name for p in PROBLEMS}) == 12
    for p in PROBLEMS:
        y0 = torch.tensor(p.y0, dtype=torch.float64)
        assert p.f(torch.tensor(0.0), y0).shape == y0.shape


def curve(factor, order=5, luck=1.0):
    """NFE = factor · error^{-1/order} at twenty tolerances."""
    errors = [10 ** (-2 - i / 3) for i in range(20)]
    return [
        Run(e, e * luck ** (-1) ** i, round(1e4 * factor * e ** (-1 / order))) for i, e in enumerate(errors)
    ]


def test_comparison_is_at_equal_error_with_the_better_one():
    row = compare("p", "m", {"integrand": curve(1.2), "torchdiffeq": curve(1.0), "SciPy": curve(1.5)})
    assert row.ratio == pytest.approx(1.2, abs=2e-3)
    assert row.torchdiffeq == pytest.approx(1.2, abs=2e-3)
    assert row.scipy == pytest.approx(0.8, abs=2e-3)
    assert not row.met
    assert compare("p", "m", {"integrand": curve(1.05), "torchdiffeq": curve(1.0), "SciPy": curve(1.0)}).met


def test_lucky_runs_do_not_decide():
    """Errors off by a factor of three now up, now down leave the curve where it is."""
    row = compare(
        "p", "m", {"integrand": curve(1.0, luck=3.0), "torchdiffeq": curve(1.0), "SciPy": curve(1.0)}
    )
    assert row.ratio == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda p: p.ours.__name__)
def test_three_libraries_solve_the_same(pair):
    problem = BY_NAME["rigid body"]
    for solve, method in ((ours, pair.ours), (by_torchdiffeq, pair.torchdiffeq), (by_scipy, pair.scipy)):
        coarse, fine = solve(problem, method, 1e-3), solve(problem, method, 1e-5)
        assert fine.error < coarse.error < 1
        assert fine.nfe > coarse.nfe


def test_rows(tmp_path, capsys):
    file = tmp_path / "rows.json"
    argv = [
        "precision",
        "--problems",
        "y cos",
        "--methods",
        "Dopri5",
        "--per-decade",
        "1",
        "--json",
        str(file),
    ]
    assert run(argv) == 0
    rows = json.loads(file.read_text())
    assert [r["method"] for r in rows] == ["Dopri5"]
    assert rows[0].keys() == {"problem", "method", "ratio", "worst", "torchdiffeq", "scipy", "errors", "met"}
    assert "rows meet the target" in capsys.readouterr().out
