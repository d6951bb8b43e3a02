"""Which runs are compared, which are not and why, and what is said about the rest."""

import itertools
import random

import pytest

from integrand.comparison.analysis import compare
from integrand.comparison.measures import Metric, choose_metric
from integrand.comparison.records.groups import Expected, sort_runs
from integrand.comparison.records.load import Selection, load
from integrand.comparison.statistics.estimates import holm, paired_t_p
from integrand.errors import UsageError

ACC = Metric("final/test_acc", "max", True)


def reasons(comparison):
    return {(o.label, o.seed): o.reason for o in comparison.left_out}


def test_rows_are_ordered_best_first_and_compared_to_the_best(three_families):
    (part,) = compare(three_families, ACC).parts
    assert [row.label for row in part.rows] == ["neural-ode", "resnet", "no-block"]
    assert part.reference == "neural-ode"
    assert part.rows[0].difference is None
    assert [row.difference.verdict for row in part.rows[1:]] == ["tie", "worse"]
    assert [row.quality.n for row in part.rows] == [4, 4, 4]
    # the reference was chosen by its mean, so all three pairs count as tests
    by = {
        f: [r.metrics["final/test_acc"] for r in three_families if r.family == f]
        for f in ("neural-ode", "resnet", "no-block")
    }
    raw = [
        paired_t_p([a - b for a, b in zip(by[f], by[g], strict=True)])
        for f, g in (("resnet", "neural-ode"), ("no-block", "neural-ode"), ("no-block", "resnet"))
    ]
    assert [row.difference.p_t for row in part.rows[1:]] == pytest.approx(holm(raw)[:2])
    assert [(d.a, d.b) for d in part.pairs] == [
        ("neural-ode", "resnet"),
        ("neural-ode", "no-block"),
        ("resnet", "no-block"),
    ]
    assert "all 3 pairs" in part.tests
    assert part.rows[2].difference.paired.estimate.mean == pytest.approx(-0.2, abs=1e-9)


def test_order_of_runs_changes_nothing(three_families, make_run):
    runs = [*three_families, make_run("resnet", 9, None, status="FAILED"), make_run("resnet", 1, 0.5)]
    expected = compare(runs, ACC)
    for seed in range(5):
        shuffled = runs.copy()
        random.Random(seed).shuffle(shuffled)
        assert compare(shuffled, ACC) == expected


def test_baseline_and_its_sign(three_families):
    (part,) = compare(three_families, ACC, baseline="no-block").parts
    assert part.chosen
    assert {r.label: r.difference.verdict for r in part.rows if r.difference} == {
        "neural-ode": "better",
        "resnet": "better",
    }
    with pytest.raises(UsageError, match="no-block"):
        compare(three_families, ACC, baseline="noblock")


def test_smaller_is_better_for_a_loss(make_run):
    losses = {"resnet": 0.3, "neural-ode": 0.5}
    runs = [
        make_run(f, seed, None, metrics={"final/test_loss": loss + 0.001 * seed * (1 + (f == "resnet"))})
        for (f, loss), seed in itertools.product(losses.items(), range(3))
    ]
    metric = choose_metric(runs)
    assert (metric.name, metric.mode, metric.percent) == ("final/test_loss", "min", False)
    (part,) = compare(runs, metric).parts
    assert [r.label for r in part.rows] == ["resnet", "neural-ode"]
    assert part.rows[1].difference.verdict == "worse"


def test_failed_running_and_killed_runs_are_listed_not_dropped(make_run):
    runs = [
        make_run("resnet", 0),
        make_run(
            "resnet", 1, None, status="FAILED", error={"type": "NonFiniteLossError", "message": "NaN at\n12"}
        ),
        make_run("resnet", 2, 0.99, status="KILLED"),
        make_run("resnet", 3, None, status="RUNNING"),
        make_run("resnet", 4, None),
        make_run("resnet", 5, None, metrics={"final/test_acc": None}),
    ]
    found = compare(runs, ACC)
    assert found.parts[0].rows[0].quality.n == 1
    assert reasons(found) == {
        ("resnet", 1): "failed: NonFiniteLossError: NaN at 12",
        ("resnet", 2): "killed",
        ("resnet", 3): "running",
        ("resnet", 4): "finished, but final/test_acc was not recorded",
        ("resnet", 5): "finished, but final/test_acc is not finite",
    }


def test_of_two_runs_with_one_seed_the_latest_finished_counts(make_run):
    old, new = make_run("resnet", 0, 0.1), make_run("resnet", 0, 0.9)
    crashed = make_run("resnet", 0, None, status="FAILED")
    found = compare([crashed, new, old], ACC)
    assert found.parts[0].rows[0].group.runs == (new,)
    assert [(o.run.run_id, o.reason.split(":")[0]) for o in found.left_out] == [
        (crashed.run_id, "failed"),
        (old.run_id, "superseded"),
    ]


def test_runs_without_a_seed_count_but_cannot_be_paired(make_run):
    runs = [make_run("resnet", None, 0.8), make_run("resnet", None, 0.9), make_run("neural-ode", 0, 0.7)]
    (part,) = compare(runs, ACC).parts
    assert part.rows[0].quality.n == 2
    assert part.rows[1].difference.verdict == "untested"
    assert part.rows[1].difference.paired is None


def test_a_seed_that_only_some_groups_have_is_missing_in_the_others(make_run):
    runs = [make_run("resnet", 0), make_run("resnet", 1), make_run("neural-ode", 0), make_run("no-block", 0)]
    runs.append(make_run("no-block", 1, None, status="FAILED"))
    found = reasons(compare(runs, ACC))
    assert found["neural-ode", 1].startswith("missing")
    assert found["no-block", 1] == "failed"  # listed once, with its own reason
    assert len(found) == 2


def test_planned_runs_that_were_never_recorded_are_missing(make_run):
    plan = [Expected("k1", "x/resnet", 0), Expected("k2", "x/resnet", 1)]
    found = reasons(compare([make_run("resnet", 0, run_key="k1")], ACC, expected=plan))
    assert found == {("x/resnet", 1): "missing: planned by the suite, never recorded"}


def test_runs_of_another_plan_do_not_count_but_runs_by_hand_do(make_run):
    """Between two runs of a suite the code changed: keys differ, and the two may not be averaged."""
    old = make_run("resnet", 1, 0.1, run_key="old")
    new = make_run("resnet", 0, 0.9, run_key="new")
    by_hand = make_run("resnet", 2, 0.8)
    found = compare([old, new, by_hand], ACC, expected=[Expected("new", "x/resnet", 0)])
    assert found.parts[0].rows[0].group.runs == (new, by_hand)
    assert [(o.kind, o.run) for o in found.left_out] == [("unplanned", old)]


@pytest.mark.parametrize("change", [{"digest": "sha256:bb"}, {"name": "other"}, {"n_train": 11}])
def test_different_data_are_not_compared(make_run, change):
    other = make_run("resnet", 0, 0.99)
    other.data = other.data | change
    found = compare([make_run("resnet", 1), make_run("neural-ode", 0), other], ACC)
    assert [len(part.rows) for part in found.parts] == [2, 1]
    assert any("do not share their data" in note for note in found.notes)


def test_one_seed_has_no_test_and_says_so(make_run):
    found = compare([make_run("resnet", 0, 0.9), make_run("neural-ode", 0, 0.5)], ACC)
    row = found.parts[0].rows[1]
    assert row.difference.verdict == "untested"
    assert row.difference.p_t is None
    assert any("no interval and no test" in note for note in found.notes)


def test_three_seeds_say_how_far_the_exact_test_reaches(make_run):
    runs = [make_run(f, s, a + 0.01 * s) for f, a in (("resnet", 0.9), ("neural-ode", 0.5)) for s in range(3)]
    runs[0].metrics["final/test_acc"] += 0.001
    found = compare(runs, ACC)
    assert any("p = 0.25" in note for note in found.notes)
    assert found.parts[0].rows[1].difference.verdict == "worse"
    assert found.parts[0].rows[1].difference.p_flip == 0.25


def test_equal_differences_fall_back_to_the_exact_test(make_run):
    """Accuracies on a coarse grid: all differences 0.25 leave the t test without spread."""
    runs = [make_run(f, s, a) for f, a in (("resnet", 0.75), ("neural-ode", 0.5)) for s in range(3)]
    difference = compare(runs, ACC).parts[0].rows[1].difference
    assert difference.p_t is None
    assert (difference.p_flip, difference.verdict) == (0.25, "tie")


def test_groups_by_config_are_named_by_what_differs(make_run):
    def config(rtol, seed):
        return {"seed_everything": seed, "model": {"init_args": {"solver": {"rtol": rtol}, "width": 8}}}

    runs = [
        make_run("neural-ode", s, 0.8, config=config(rtol, s), config_digest=f"{rtol}")
        for rtol in (0.1, 0.001)
        for s in range(2)
    ]
    by_family = sort_runs(runs, ACC, "family")
    assert any("--group-by config" in note for note in by_family.notes)
    assert [o.reason.split(":")[0] for o in by_family.left_out] == ["superseded"] * 2
    by_config = sort_runs([*runs, make_run("resnet", 0)], ACC)
    (groups,) = by_config.parts.values()
    assert [g.label for g in groups] == ["neural-ode rtol=0.001", "neural-ode rtol=0.1", "resnet"]


def test_another_class_is_named_and_its_options_are_not(make_run):
    """The noises of one family are groups of their own: the last one must not stand for all of them."""
    noises = {
        "none": None,
        "Dropout": {"class_path": "integrand.modules.noise.Dropout", "init_args": {"p": 0.1}},
        "ShakeShake": {"class_path": "integrand.modules.noise.ShakeShake", "init_args": {"mode": "even"}},
    }
    runs = [
        make_run("resnet", s, config={"model": {"init_args": {"noise": noise}}}, config_digest=name)
        for name, noise in noises.items()
        for s in range(2)
    ]
    (groups,) = sort_runs(runs, ACC).parts.values()
    assert [g.label for g in groups] == ["resnet", "resnet noise=Dropout", "resnet noise=ShakeShake"]
    assert [len(g.runs) for g in groups] == [2, 2, 2]


def test_a_noise_is_named_where_no_plain_net_is_beside_it(make_run):
    """Otherwise `--baseline resnet` takes the one with noise for the ResNet, silently."""
    noise = {"class_path": "integrand.modules.noise.StochasticDepth", "init_args": {"survival": 0.5}}
    runs = [make_run("resnet", s, config={"model": {"init_args": {"noise": noise}}}) for s in range(2)]
    (groups,) = sort_runs([*runs, *(make_run("revnet", s) for s in range(2))], ACC).parts.values()
    assert [g.label for g in groups] == ["resnet noise=StochasticDepth", "revnet"]


def test_a_taught_family_is_a_group_of_its_own_wherever_its_teachers_lie(make_run):
    def config(teacher):
        return {"model": {"init_args": {"teacher": teacher, "lr": 0.1}}}

    runs = [
        make_run("flow", s, config=config(f"/runs/{s}/best.ckpt"), config_digest="taught") for s in (0, 1)
    ]
    runs += [make_run("flow", s, config=config(None), config_digest="plain") for s in (0, 1)]
    (groups,) = sort_runs(runs, ACC).parts.values()
    assert [(g.label, len(g.runs)) for g in groups] == [("flow", 2), ("flow teacher=best.ckpt", 2)]


def test_a_taught_group_says_whose_pupil_it_is(make_run, tmp_path):
    """Arms of a suite by their names, other runs by their family; whether or not the teacher is compared."""
    teachers = [make_run("flow-matching", s, suite="x", run_name=f"s{s} {arm}", config_digest=arm)
                for arm in ("cfm", "ot_cfm") for s in (0, 1)]  # fmt: skip
    teachers.append(make_run("diffusion", 0, run_name="mine"))

    def pupil(teacher, seed):
        path = f"/store/{'f' * 32}/{teacher.run_id}/artifacts/checkpoints/best.ckpt"
        config = {"model": {"init_args": {"teacher": path, "width": 8}}}
        # seeds of one arm share what their teacher was trained as
        return make_run("flow", seed, config=config, config_digest=f"taught by {teacher.config_digest}")

    pupils = [pupil(t, t.seed) for t in teachers]
    for run in (*teachers, *pupils):
        (tmp_path / f"{run.run_id}.json").write_text(run.to_json())
    labels = ["flow teacher=cfm", "flow teacher=diffusion", "flow teacher=ot_cfm"]
    everything = compare(load(Selection(records=tmp_path)).records, ACC, "config")
    found = [row.label for part in everything.parts for row in part.rows]
    assert sorted(label for label in found if label.startswith("flow ")) == labels
    chosen = tuple(run.run_id for run in pupils)
    alone = compare(load(Selection(records=tmp_path, runs=chosen)).records, ACC, "config")
    assert sorted(row.label for part in alone.parts for row in part.rows) == labels
    assert [len(row.group.runs) for part in alone.parts for row in part.rows].count(2) == 2


def test_runs_outside_the_plan_do_not_split_a_family(make_run):
    """A run of an earlier plan had fewer epochs; the name of the planned one stays plain."""
    old, new = (
        make_run("resnet", 0, run_key=key, config={"trainer": {"max_epochs": n}}, config_digest=key)
        for key, n in (("old", 15), ("new", 40))
    )
    (groups,) = sort_runs([old, new], ACC, expected=[Expected("new", "x/resnet", 0)]).parts.values()
    assert [g.label for g in groups] == ["resnet"]


def test_mixed_configurations_in_a_family_are_pointed_out(make_run):
    found = compare(
        [make_run("resnet", 0, config_digest="a"), make_run("resnet", 1, config_digest="b")], ACC, "family"
    )
    assert any("2 different configurations" in note for note in found.notes)


def test_superseded_run_of_another_configuration_is_pointed_out(make_run):
    found = compare(
        [make_run("resnet", 0, config_digest="a"), make_run("resnet", 0, config_digest="b")], ACC, "family"
    )
    assert any("2 different configurations" in note for note in found.notes)


def test_times_of_different_devices_are_pointed_out(make_run):
    one, two = (make_run(seed=s, provenance={"device": {"name": n}}) for s, n in enumerate(("A100", "EPYC")))
    assert any("A100, EPYC" in note for note in compare([one, two], ACC).notes)
    two.provenance = one.provenance
    assert not any("devices" in note for note in compare([one, two], ACC).notes)


def test_nothing_finished_is_no_crash(make_run):
    found = compare([make_run("resnet", 0, None, status="FAILED")], ACC)
    assert found.parts == ()
    assert len(found.left_out) == 1


@pytest.mark.parametrize(
    ("metrics", "name", "mode"),
    [
        ({"final/test_acc": 0.5, "best/val_acc": 0.6}, "final/test_acc", "max"),
        ({"best/val_acc": 0.6, "final/test_loss": 1.0}, "best/val_acc", "max"),
        ({"best/val_elbo": 0.6}, "best/val_elbo", "min"),
    ],
)
def test_default_metric(make_run, metrics, name, mode):
    monitor = {"name": "val/elbo", "mode": "min"} if "elbo" in name else {"name": "val/acc", "mode": "max"}
    metric = choose_metric([make_run(acc=None, metrics=metrics, monitor=monitor)])
    assert (metric.name, metric.mode) == (name, mode)


def test_the_metric_that_most_runs_have_is_chosen(make_run):
    runs = [make_run(seed=0)] + [make_run(seed=s, acc=None, metrics={"best/val_acc": 0.5}) for s in (1, 2)]
    assert choose_metric(runs).name == "best/val_acc"


def test_what_is_monitored_is_compared_before_losses_that_do_not_compare(make_run):
    monitor = {"name": "val/mse", "mode": "min"}
    runs = [
        make_run(seed=s, acc=None, metrics={"final/test_mse": 0.2, "final/test_loss": loss}, monitor=monitor)
        for s, loss in enumerate((0.2, -49.0))  # a mean squared error and a negative bound
    ]
    assert (choose_metric(runs).name, choose_metric(runs).mode) == ("final/test_mse", "min")


def test_metric_errors_help(make_run):
    runs = [make_run(acc=None, metrics={"final/test_acc": 0.5, "final/oddity": 1.0})]
    with pytest.raises(UsageError, match="final/test_acc"):
        choose_metric(runs, "final/tst_acc")
    with pytest.raises(UsageError, match="--mode"):
        choose_metric(runs, "final/oddity")
    assert choose_metric(runs, "final/oddity", "min").mode == "min"
    with pytest.raises(UsageError, match="0 finished runs"):
        choose_metric([make_run(status="FAILED")])


def test_a_table_says_what_tells_its_data_from_others_of_their_name(make_run):
    """Series with values left out have one name and other content; a digest alone says nothing to a reader."""
    runs = [
        make_run(
            family,
            seed,
            acc=0.5 + 0.1 * drop + 0.01 * seed,
            data={"name": name, "digest": f"sha256:{name}{drop}", "n_train": 9},
            config={"data": {"init_args": {"drop": drop, "batch_size": 32}}},
            config_digest=f"{family}{name}{drop}",
        )
        for family in ("gru-d", "s4d")
        for seed in (0, 1)
        for name, drop in (("vowels", 0.0), ("vowels", 0.3), ("digits", 0.0))
    ]
    found = compare(runs, ACC)
    assert sorted(part.data.title for part in found.parts) == ["digits", "vowels drop=0.0", "vowels drop=0.3"]
    assert any("vowels drop=0.3 (" in note for note in found.notes)


def test_options_of_one_class_tell_groups_apart_beside_groups_without_it(make_run):
    """Where some have no noise at all, its options are not compared; dropout with and without draws still differ."""
    noises = {"none": None, "plain": {"samples": 0, "p": 0.1}, "monte carlo": {"samples": 10, "p": 0.1}}
    runs = []
    for data in ("digits", "moons"):
        for name, options in noises.items():
            noise = options and {"class_path": "a.Dropout", "init_args": options}
            card = {"name": data, "digest": f"sha256:{data}"}
            config = {"model": {"noise": noise}}
            runs += [
                make_run("resnet", s, data=card, config=config, config_digest=f"{name}{data}") for s in (0, 1)
            ]
    for part in compare(runs, ACC).parts:
        assert {row.label for row in part.rows} == {
            "resnet", "resnet noise=Dropout samples=0", "resnet noise=Dropout samples=10"
        }  # fmt: skip


def test_data_are_not_part_of_a_groups_name(make_run):
    runs = []
    for data in ("digits", "moons"):
        card = {"name": data, "digest": f"sha256:{data}"}
        for path in ("Lipman", "VP"):
            config = {"model": {"path": {"class_path": path}}, "data": {"class_path": data}}
            for seed in (0, 1):
                digest = f"{data}-{path}"
                runs.append(make_run("flow", seed, data=card, config=config, config_digest=digest))
        config = {"model": {"depth": 3}, "data": {"class_path": data}}
        runs.append(make_run("resnet", 0, data=card, config=config, config_digest=f"resnet-{data}"))
    comparison = compare(runs, choose_metric(runs))
    for part in comparison.parts:
        assert {row.label for row in part.rows} == {"flow path=Lipman", "flow path=VP", "resnet"}
