"""Evaluations of the same checkpoint with another solver, experiments kept apart, several data sets."""

import pytest

from integrand.comparison.analysis import compare
from integrand.comparison.measures import Metric
from integrand.comparison.statistics.bootstrap import estimate_strata
from integrand.comparison.statistics.estimates import holm, paired_t_p
from integrand.comparison.statistics.probability import improvement, over_tasks
from integrand.comparison.statistics.sensitivity import counterpart

ACC = Metric("final/test_acc", "max", True)
LOSSES = (0.010, 0.012, 0.011, 0.013)


@pytest.fixture
def trained(make_run):
    """Four trained runs of one family, tested at the checkpoint of epoch 3."""
    runs = [make_run("neural-ode", s, 0.9 + 0.01 * s, solver="dopri5") for s in range(4)]
    for run in runs:
        run.evaluates = {"run_id": run.run_id, "epoch": 3}
        run.metrics |= {"solver/test_nfe_forward": 26.0, "best/epoch": 3.0}
    return runs


@pytest.fixture
def evaluate(make_run):
    """An evaluation of a run with another solver."""

    def make(run, change, solver="euler", nfe=4.0, epoch=3, **fields):
        acc = run.metrics["final/test_acc"] + change
        metrics = {"final/test_acc": acc, "test/acc": acc, "solver/test_nfe_forward": nfe}
        values = {"solver": solver, "cost": {}, "metrics": metrics}
        values["evaluates"] = {"run_id": run.run_id, "epoch": epoch}
        return make_run(run.family, run.seed, None, **(values | fields))

    return make


def test_evaluations_do_not_stand_in_for_their_runs(trained, evaluate):
    """They are later, finished, of the same family and seed: without care they would supersede the trained."""
    runs = [*trained, *(evaluate(run, -0.5) for run in trained)]
    found = compare(runs, ACC)
    assert found.parts[0].rows[0].group.runs == tuple(trained)
    assert found.left_out == ()


def test_change_is_paired_on_the_checkpoint(trained, evaluate):
    runs = [*trained, *(evaluate(r, -loss) for r, loss in zip(trained, LOSSES, strict=True))]
    runs += [evaluate(r, 0.001 * (-1) ** r.seed, "dopri5 rtol=0.1", 14.0) for r in trained]
    (part,) = compare(runs, ACC).parts
    rough, tied = sorted(part.sensitivity, key=lambda s: s.nfe_evaluated.mean)
    assert (rough.label, rough.trained_with, rough.evaluated_with) == ("neural-ode", "dopri5", "euler")
    assert rough.paired.estimate.mean == pytest.approx(-sum(LOSSES) / 4)
    assert rough.paired.estimate.low < -0.0115 < rough.paired.estimate.high < 0
    assert (rough.nfe_trained.mean, rough.nfe_evaluated.mean, rough.seeds) == (26.0, 4.0, (0, 1, 2, 3))
    raw = [paired_t_p([-loss for loss in LOSSES]), paired_t_p([0.001, -0.001, 0.001, -0.001])]
    assert [rough.p_t, tied.p_t] == pytest.approx(holm(raw), rel=1e-6)
    assert (rough.verdict, tied.verdict) == ("worse", "tie")
    assert rough.sentence.startswith("Evaluated with euler instead of dopri5, neural-ode loses 1.15 ± 0.2")
    assert rough.sentence.endswith("at 0.15× the evaluations per test batch.")
    assert "neither gains nor loses" in tied.sentence


def test_the_latest_of_equal_evaluations_counts(trained, evaluate):
    runs = [trained[0], evaluate(trained[0], -0.3), evaluate(trained[0], -0.1)]
    (found,) = compare(runs, ACC).parts[0].sensitivity
    assert found.paired.estimate.mean == pytest.approx(-0.1)
    assert (found.paired.estimate.n, found.verdict) == (1, "untested")
    assert "not tested" in found.sentence


def test_same_words_for_the_solver_are_told_apart_by_settings(trained, evaluate):
    config = {"model": {"init_args": {"solver": {"init_args": {"num_steps": 4}}}}}
    trained[0].config = {"model": {"init_args": {"solver": {"init_args": {"num_steps": 8}}}}}
    (found,) = (
        compare([trained[0], evaluate(trained[0], -0.3, "dopri5", config=config)], ACC).parts[0].sensitivity
    )
    assert found.evaluated_with == "dopri5 num_steps=4"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"status": "FAILED", "error": {"type": "X", "message": "boom"}}, "failed: boom"),
        ({"evaluates": {"run_id": "ff" * 16, "epoch": 3}}, "is not among those that count"),
        ({"evaluates": {"run_id": "", "epoch": 3}}, "does not say which run trained it"),
        ({"data": {"name": "other"}}, "on other data"),
        ({"metrics": {"test/loss": 1.0}}, "final/test_acc was not recorded"),
        ({"epoch": 9}, "checkpoint of epoch 9, the run's own value is of epoch 3"),
    ],
)
def test_evaluations_without_a_counterpart_are_listed(trained, evaluate, fields, says):
    found = compare([*trained, evaluate(trained[0], -0.1, **fields)], ACC)
    (left,) = found.left_out
    assert left.kind == "evaluation"
    assert says in left.reason
    assert found.parts[0].sensitivity == ()
    assert found.parts[0].rows[0].quality.n == 4


def test_records_that_do_not_name_the_checkpoint_are_still_no_seeds(trained, evaluate):
    """Written before records said so: tested, never trained."""
    old = evaluate(trained[0], -0.1, evaluates={})
    (left,) = compare([*trained, old], ACC).left_out
    assert left.run is old


def test_a_validation_of_its_own_has_another_name():
    assert counterpart(Metric("best/val_acc", "max", True)) == "final/validate_acc"
    assert counterpart(ACC) == "final/test_acc"


def test_experiments_are_never_mixed_into_one_group(make_run):
    """The quickstart trains four epochs, another suite forty: the same family, the same data."""
    short = [make_run("resnet", s, 0.6 + 0.01 * s, experiment="quickstart") for s in range(3)]
    long = [make_run("resnet", s, 0.9 + 0.01 * s, experiment="all") for s in range(3)]
    only = [make_run("neural-ode", s, 0.8, experiment="all") for s in range(3)]
    found = compare([*short, *long, *only], ACC)
    (part,) = found.parts
    assert [(row.label, row.quality.n) for row in part.rows] == [
        ("resnet [all]", 3),
        ("neural-ode", 3),
        ("resnet [quickstart]", 3),
    ]
    assert any("resnet: recorded in several experiments (all, quickstart)" in n for n in found.notes)
    assert found.left_out == ()


def test_pruned_runs_are_listed_and_spent_budgets_pointed_out(make_run):
    runs = [make_run("resnet", s) for s in range(3)]
    runs[0].stopped = {"by": "pruner", "reason": "worse than the median at epoch 2"}
    runs[1].stopped = {"by": "nfe", "reason": "budget of 1000 used up"}
    found = compare(runs, ACC)
    assert found.parts[0].rows[0].quality.n == 2
    assert [(o.kind, o.reason) for o in found.left_out if o.run] == [
        ("pruned", "pruned: worse than the median at epoch 2")
    ]
    assert any("1 of 2 runs ended early" in note for note in found.notes)


def two_data_sets(make_run, metric="final/test_acc", scale=1.0):
    values = {
        "digits": {
            "resnet": (0.95, 0.96, 0.94),
            "neural-ode": (0.90, 0.91, 0.92),
            "no-block": (0.5, 0.6, 0.7),
        },
        "moons": {"resnet": (0.80, 0.81, 0.85), "neural-ode": (0.70, 0.86, 0.77)},
    }
    return [
        make_run(family, seed, None, metrics={metric: scale * v}, data={"name": data, "digest": data})
        for data, families in values.items()
        for family, found in families.items()
        for seed, v in enumerate(found)
    ], values


def test_several_data_sets_are_strata_of_equal_weight(make_run):
    runs, values = two_data_sets(make_run)
    found = compare(runs, ACC)
    assert sorted(part.data.name for part in found.parts) == ["digits", "moons"]
    overall = found.overall
    assert [(row.label, row.n) for row in overall.rows] == [("resnet", (3, 3)), ("neural-ode", (3, 3))]
    assert overall.absent == ("no-block",)
    strata = [sorted(values[d]["resnet"]) for d in overall.data]
    assert overall.rows[0].quality == estimate_strata(strata)
    assert overall.rows[0].improvement is None
    chance = over_tasks([improvement(values[d]["neural-ode"], values[d]["resnet"]) for d in overall.data])
    assert overall.rows[1].improvement == chance


def test_losses_are_not_averaged_over_data_sets(make_run):
    runs, _ = two_data_sets(make_run, "final/test_loss", 3.0)
    found = compare(runs, Metric("final/test_loss", "min", False))
    assert [row.quality for row in found.overall.rows] == [None, None]
    assert "no common scale" in found.overall.note
    assert [row.label for row in found.overall.rows] == ["neural-ode", "resnet"]  # the smaller losses
    assert found.overall.rows[1].improvement.probability < 0.5


def test_one_data_set_has_no_overall(three_families):
    assert compare(three_families, ACC).overall is None
