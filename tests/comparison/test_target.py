"""Time to a target with runs that never reach it, the Pareto front, and curves."""

import numpy as np
import pytest

from integrand.comparison.analysis import compare
from integrand.comparison.measures import Metric, choose_metric, validation_series
from integrand.comparison.records.groups import Group
from integrand.comparison.records.traces import MAX_POINTS, Traces
from integrand.comparison.statistics.curves import curves
from integrand.comparison.statistics.pareto import pareto_front
from integrand.comparison.statistics.target import choose_target, reach, time_of_half
from integrand.errors import UsageError

ACC = Metric("final/test_acc", "max", True)


def history(values, nfe=None, seconds=2.0):
    """A validation per epoch, `seconds` apart; `nfe` evaluations per epoch."""
    series = {"val/acc": [[10 * i, i, seconds * (i + 1), v] for i, v in enumerate(values)]}
    if nfe is not None:
        series["solver/nfe_forward_total"] = [[10 * i, i, 0, nfe * (i + 1)] for i in range(len(values))]
        series["solver/nfe_backward_total"] = [
            [10 * i, i, 0, 0.5 * nfe * (i + 1)] for i in range(len(values))
        ]
    return series


@pytest.mark.parametrize(
    ("times", "reached", "expected"),
    [
        ([3, 1, 2], [True] * 3, 2),
        ([3, 1, 2, 4], [True] * 4, 2),  # half of four had arrived by then
        ([3, 9, 2], [True, False, True], 3),
        ([3, 1, 2], [False, True, False], None),
        # runs that gave up early are no fast ones: Kaplan and Meier's median would be 120
        ([100, 110, 120], [False, False, True], None),
        ([5], [False], None),
        ([5], [True], 5),
    ],
)
def test_time_of_half(times, reached, expected):
    assert time_of_half(times, reached) == expected


def test_runs_that_never_reach_the_target_are_shown_not_dropped(make_run):
    runs = [
        make_run("resnet", 0, history=history([0.5, 0.7, 0.9], nfe=100)),
        make_run("resnet", 1, history=history([0.5, 0.6, 0.65, 0.69], nfe=100)),
        make_run("resnet", 2, history=history([0.75, 0.4, 0.9], nfe=100)),
        make_run("resnet", 3),
    ]
    (row,) = (part := compare(runs, ACC, target=0.7).parts[0]).rows
    assert (part.target.value, part.target.series, part.target.chosen) == (0.7, "val/acc", True)
    found = row.reach
    assert (found.reached, len(found.runs)) == (2, 3)  # the fourth run has no series
    assert [(r.seed, r.reached, r.epoch, r.seconds, r.evaluations) for r in found.runs] == [
        (0, True, 2, 4.0, 300.0),
        (1, False, 4, 8.0, 600.0),
        (2, True, 1, 2.0, 150.0),
    ]
    # two of three reached it: by epoch 2, with 300 evaluations, half had
    assert (found.epochs, found.seconds, found.evaluations) == (2, 4.0, 300.0)


def test_smaller_is_better_for_a_loss_target(make_run):
    runs = [
        make_run(
            "resnet", s, None, metrics={"final/test_loss": 0.3},
            history={"val/loss": [[i, i, float(i + 1), v] for i, v in enumerate([2.0, 1.0, 0.5])]},
        )
        for s in range(2)
    ]  # fmt: skip
    (part,) = compare(runs, choose_metric(runs), target=1.0).parts
    assert part.target.series == "val/loss"
    assert [r.epoch for r in part.rows[0].reach.runs] == [2, 2]


def test_default_target_is_the_median_group(make_run):
    best = {"no-block": 0.6, "resnet": 0.81237, "neural-ode": 0.9}
    runs = [
        make_run(family, s, value, history=history([0.3, value + 0.01 * (s - 1), 0.2]))
        for family, value in best.items()
        for s in range(3)
    ]
    (part,) = compare(runs, ACC).parts
    assert part.target.value == 0.8123  # four digits, to the easier side
    assert not part.target.chosen
    assert {row.label: row.reach.reached for row in part.rows} == {
        "neural-ode": 3,
        "resnet": 2,
        "no-block": 0,
    }


def test_target_of_a_fraction(make_run):
    with pytest.raises(UsageError, match=r"0\.85"):
        compare([make_run("resnet", 0, history=history([0.5]))], ACC, target=85.0)


def test_without_series_there_is_no_target(make_run):
    (part,) = compare([make_run("resnet", s) for s in range(2)], ACC).parts
    assert part.target is None
    assert part.rows[0].reach is None
    assert part.rows[0].curves == {}


def test_series_that_follow_a_metric(make_run):
    run = make_run(monitor={"name": "val/elbo", "mode": "max"})
    assert validation_series(Metric("final/test_f1", "max", False), []) == "val/f1"
    assert validation_series(Metric("best/val_acc", "max", True), []) == "val/acc"
    assert validation_series(Metric("solver/test_nfe_forward", "min", False), [run]) == "val/elbo"
    assert validation_series(Metric("other", "min", False), []) == ""


def test_first_validation_counts_however_many_there_are(make_run):
    """Drawn series are thinned, validations are not."""
    values = [0.1] * 499
    values[250] = 0.9
    run = make_run(
        "resnet", 0, history=history(values) | {"train/loss": [[i, i, 0, 1.0] for i in range(499)]}
    )
    traces = Traces.of([run])
    assert len(traces.series(run.run_id, "val/acc")) == 499
    assert len(traces.series(run.run_id, "train/loss")) == MAX_POINTS
    group = Group("resnet", (run,))
    target = choose_target([group], ACC, "val/acc", traces, 0.8)
    assert reach(group, target, ACC, traces).runs[0].epoch == 251


def test_null_in_a_series_is_no_value(make_run):
    run = make_run("resnet", 0, history={"val/acc": [[0, 0, 1.0, None], [1, 1, 2.0, 0.5]]})
    assert Traces.of([run]).series(run.run_id, "val/acc").tolist() == [[2.0, 2.0, 0.5]]


def test_curve_is_the_mean_of_the_last_value_of_each_epoch(make_run):
    one = {"val/acc": [[0, 0, 1, 0.1], [5, 0, 2, 0.2], [9, 1, 3, 0.4], [12, 2, 4, 0.5]]}
    two = {"val/acc": [[0, 0, 1, 0.4], [9, 1, 3, 0.6]]}
    group = Group("resnet", (make_run(seed=0, history=one), make_run(seed=1, history=two)))
    found = curves(group, Traces.of(group.runs), "val/acc")
    assert list(found) == ["quality"]
    curve = found["quality"]
    assert curve.epochs == (1.0, 2.0)  # the third epoch has one run only
    assert curve.mean == pytest.approx((0.3, 0.5))
    # two values 0.2 and 0.4: half width t(0.975; 1)·s/√2 = 12.706·0.1
    assert curve.high[0] - curve.mean[0] == pytest.approx(1.2706, rel=1e-4)
    assert curve.seeds == {"0": (0.2, 0.4), "1": (0.4, 0.6)}


def test_curve_of_one_run_has_no_band(make_run):
    group = Group("resnet", (make_run(history=history([0.1, 0.2])),))
    curve = curves(group, Traces.of(group.runs), "val/acc")["quality"]
    assert (curve.mean, curve.low) == ((0.1, 0.2), (None, None))


def test_long_curves_are_thinned_with_both_ends(make_run):
    group = Group(
        "resnet", tuple(make_run(seed=s, history=history(np.arange(300.0).tolist())) for s in (0, 1))
    )
    curve = curves(group, Traces.of(group.runs), "val/acc")["quality"]
    assert (len(curve.epochs), curve.epochs[0], curve.epochs[-1]) == (MAX_POINTS, 1.0, 300.0)
    assert curve.mean[0] == 0.0
    assert curve.mean[-1] == 299.0


@pytest.mark.parametrize(
    ("points", "larger", "front"),
    [
        ({"a": (1, 0.5), "b": (2, 0.7), "c": (3, 0.6)}, True, ("a", "b")),
        ({"a": (1, 0.5), "b": (2, 0.7), "c": (3, 0.6)}, False, ("a",)),
        # equal cost: only the better; equal quality: only the cheaper
        ({"a": (1, 0.5), "b": (1, 0.6), "c": (2, 0.6)}, True, ("b",)),
        # equal in both: both
        ({"b": (1, 0.5), "a": (1, 0.5), "c": (0, 0.1)}, True, ("c", "a", "b")),
        ({}, True, ()),
    ],
)
def test_pareto_front(points, larger, front):
    assert pareto_front(points, larger) == front


def test_pareto_front_of_a_rate():
    """More samples per second are better."""
    assert pareto_front({"a": (100, 0.5), "b": (50, 0.7), "c": (40, 0.6)}, True, smaller_cost=False) == (
        "a",
        "b",
    )


def test_pareto_front_is_what_nothing_dominates():
    generator = np.random.default_rng(0)
    for _ in range(50):
        points = {str(i): tuple(p) for i, p in enumerate(generator.integers(0, 5, (8, 2)).tolist())}
        undominated = {
            name
            for name, (cost, quality) in points.items()
            if not any(c <= cost and q >= quality and (c < cost or q > quality) for c, q in points.values())
        }
        assert set(pareto_front(points, True)) == undominated


def test_front_of_a_comparison(three_families):
    (part,) = compare(three_families, ACC).parts
    # no-block costs nothing, resnet is a tie with the best at a third of its evaluations
    assert part.pareto["nfe_forward"] == ("no-block", "resnet", "neural-ode")
    assert part.pareto["parameters"] == ("neural-ode",)  # fewer than the ResNet, not recorded for no-block
    assert "energy_joules" not in part.pareto
