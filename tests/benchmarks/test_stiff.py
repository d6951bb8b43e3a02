"""Work at equal error is read off curves whose ratio is known; the problems are the published ones."""

import math
from dataclasses import replace

import pytest
import torch

from integrand.benchmarks.stiff import Run, at_equal_error, by_us
from integrand.benchmarks.stiff_problems import HIRES, PROBLEMS, Oregonator, Robertson, VanDerPol
from integrand.solvers import Kvaerno5, Rodas5P


def curve(factor, errors):
    """Work that falls with the fifth root of the error."""
    return [Run(e, round(factor * e**-0.2 * 1e6), e) for e in errors]


def test_ratio_at_equal_error_is_that_of_the_curves():
    """Twice the work at every error, though the tolerances are met with errors ten times larger."""
    theirs = curve(1.0, [1e-2, 1e-4, 1e-6, 1e-8])
    ours = curve(2.0, [1e-1, 1e-3, 1e-5, 1e-7])
    ratio, errors = at_equal_error(ours, theirs)
    assert ratio == pytest.approx(2, rel=1e-5)
    assert errors == (1e-2, 1e-7)


def test_lost_and_exact_runs_are_no_part_of_a_curve():
    theirs = curve(1.0, [1e-2, 1e-4, 1e-6])
    ours = [*curve(3.0, [1e-2, 1e-4, 1e-6]), Run(1e-1, 7, 1.1), Run(1e-9, 7, math.inf), Run(1e-12, 7, 1e-13)]
    assert at_equal_error(ours, theirs)[0] == pytest.approx(3, rel=1e-5)


# Mazzia, Magherini, Test Set for Initial Value Problem Solvers 2.4 (2008): HIRES II.1, Oregonator II.10,
# van der Pol II.2 with the time scaled by μ; Robertson at 1e5 has y = (1.786592e-2, 7.2747e-8, 0.982134)
ENDS = {
    HIRES: (0, 0.7371312573325668e-3),
    Oregonator: (0, 0.1000814870318523e1),
    VanDerPol: (0, 0.1706167732170483e1),
}


@pytest.mark.parametrize("problem", ENDS)
def test_problems_end_where_they_are_published_to_end(problem):
    component, expected = ENDS[problem]
    y0 = torch.tensor([problem.y0], dtype=torch.float64)
    with torch.no_grad():
        end = Rodas5P(rtol=1e-5, atol=1e-5 * problem.scale).solve(problem(), y0, [0.0, problem.end]).ys[-1, 0]
    # Rodas5P's error over its tolerance is up to 10 here; a wrong coefficient changes the first digits
    assert end[component].item() == pytest.approx(expected, rel=2e-4)


@pytest.mark.parametrize(
    ("problem", "component", "expected"),
    # of the Oregonator the component that tells how late its jumps come
    [*((p, *ENDS[p]) for p in (HIRES, VanDerPol)), (Oregonator, 1, 0.1228178521549917e4)],
)
def test_kvaernos_error_is_about_its_tolerance(problem, component, expected):
    """Stages that start from the stage before them end ten times as far off on the Oregonator."""
    y0 = torch.tensor([problem.y0], dtype=torch.float64)
    with torch.no_grad():
        solver = Kvaerno5(rtol=1e-4, atol=1e-4 * problem.scale)
        end = solver.solve(problem(), y0, [0.0, problem.end]).ys[-1, 0]
    assert end[component].item() == pytest.approx(expected, rel=3e-4)


def test_kvaernos_first_guesses_save_work(monkeypatch):
    informed = by_us(Kvaerno5, Robertson(), 1e-4, [0.0, 0.0, 1.0]).work
    monkeypatch.setattr(Kvaerno5, "tableau", replace(Kvaerno5.tableau, guesses=None))
    assert informed < 0.8 * by_us(Kvaerno5, Robertson(), 1e-4, [0.0, 0.0, 1.0]).work


def test_robertson_keeps_its_mass():
    run = by_us(Rodas5P, Robertson(), 1e-5, [0.0, 0.0, 1.0])
    # all but the 1.8e-2 that is left of the first chemical has become the third
    assert 1e-2 < run.error * Robertson.scale < 2e-2
    assert len(PROBLEMS) == 4
