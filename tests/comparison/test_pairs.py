"""Every pair of groups: which tests count, which verdicts follow, and how often they are wrong."""

import math

import numpy as np
import pytest
from scipy import stats

from integrand.comparison.analysis import compare
from integrand.comparison.measures import Metric
from integrand.comparison.records.groups import Group
from integrand.comparison.statistics import pairs
from integrand.comparison.statistics.estimates import holm, paired_difference, sign_flip_many, sign_flip_p
from integrand.comparison.statistics.pairs import compare_pairs, turned
from integrand.comparison.statistics.probability import improvement

ACC = Metric("final/test_acc", "max", True)


def no_costs(groups):
    return {g.label: {} for g in groups}


def test_a_named_baseline_is_tested_against_the_others_only(three_families):
    (part,) = compare(three_families, ACC, baseline="resnet").parts
    assert part.tests == "Holm over the 2 planned comparisons with resnet"
    by_pair = {(d.a, d.b): d for d in part.pairs}
    assert by_pair["neural-ode", "no-block"].verdict == "untested"
    assert by_pair["neural-ode", "no-block"].p_t is None
    assert "not among the planned comparisons" in by_pair["neural-ode", "no-block"].sentence
    raw = [by_pair[p].paired.p_t for p in (("neural-ode", "resnet"), ("resnet", "no-block"))]
    assert [row.difference.p_t for row in part.rows if row.difference] == pytest.approx(holm(raw))


def test_every_pair_has_its_probability_of_improvement(three_families):
    (part,) = compare(three_families, ACC).parts
    values = {row.label: row.group.values(ACC) for row in part.rows}
    assert len(part.pairs) == 3
    for found in part.pairs:
        assert found.improvement == improvement(values[found.a], values[found.b])


def test_the_row_is_the_pair_seen_from_the_other_side(three_families):
    (part,) = compare(three_families, ACC).parts
    pair = part.pairs[0]
    row = part.row(pair.b).difference
    assert (row.a, row.b) == (pair.b, pair.a)
    assert row.paired.estimate.mean == -pair.paired.estimate.mean
    assert (row.paired.estimate.low, row.paired.estimate.high) == (
        -pair.paired.estimate.high,
        -pair.paired.estimate.low,
    )
    assert row.improvement.probability == pytest.approx(1 - pair.improvement.probability)
    assert (row.p_t, row.p_flip, row.verdict) == (pair.p_t, pair.p_flip, "tie")
    assert turned(row, ACC, no_costs([r.group for r in part.rows])).paired == pair.paired
    other = part.row("no-block").difference
    assert (other.verdict, part.pairs[1].verdict) == ("worse", "better")


def test_with_very_many_groups_only_the_reference_is_compared_but_all_pairs_count(make_run, monkeypatch):
    monkeypatch.setattr(pairs, "MAX_GROUPS", 3)
    noise = np.random.default_rng(0).normal(0, 0.02, (4, 4))
    runs = [make_run(f"f{i}", s, 0.5 + 0.1 * i + noise[i, s]) for i in range(4) for s in range(4)]
    (part,) = compare(runs, ACC).parts
    assert {d.a for d in part.pairs} == {"f3"}
    assert "Bonferroni over all 6 pairs" in part.tests
    for found in part.pairs:
        raw = paired_difference(
            [part.row(found.a).group.by_seed(ACC)[s] for s in found.seeds],
            [part.row(found.b).group.by_seed(ACC)[s] for s in found.seeds],
        ).p_t
        assert found.p_t == pytest.approx(min(1.0, 6 * raw))


@pytest.mark.parametrize("n", [3, 5])
def test_choosing_the_best_as_reference_makes_no_false_findings(make_run, n):
    """Ten equal families: corrected over the nine comparisons with the best only, 10 % of the tables would
    show a difference that is not there; over all pairs at most 5 % do."""
    trials, k, generator = 1500, 10, np.random.default_rng(n)
    false = naive = 0
    a, b = np.triu_indices(k, 1)
    for trial in range(trials):
        values = generator.normal(0.8, 0.02, (k, n))
        values = values[np.argsort(-values.mean(axis=1))]  # the best is group 0
        p = stats.ttest_1samp(values[a] - values[b], 0.0, axis=1).pvalue
        corrected = holm(list(p))
        false += min(corrected[: k - 1]) < 0.05
        naive += min(holm(list(p[: k - 1]))) < 0.05
        if trial == 0:  # that is what a comparison does
            groups = [
                Group(str(i), tuple(make_run(str(i), s, float(values[i, s])) for s in range(n)))
                for i in range(k)
            ]
            found, _ = compare_pairs(groups, groups[0], False, ACC, no_costs(groups))
            assert [d.p_t for d in found] == pytest.approx(corrected, rel=1e-6)
    assert false / trials <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / trials)
    assert naive / trials > 0.075  # so the correction is needed


def test_many_sign_flips_at_once_are_those_one_by_one():
    generator = np.random.default_rng(0)
    rows = [list(generator.normal(0.4, 1, n)) for n in (3, 5, 3, 20, 1, 20)] + [[0.1, 0.2, -0.3]]
    assert sign_flip_many(rows) == [sign_flip_p(row) for row in rows]


def test_sentences_say_what_is_established(make_run):
    cost = {"parameters": 1.0, "seconds_per_epoch": 2.0}
    runs = []
    for seed, wiggle in enumerate((0.0, 0.011, -0.009, 0.004)):
        runs += [
            make_run("resnet", seed, 0.90 + wiggle, 20.0, cost=cost | {"seconds_per_epoch": 3.0}),
            make_run("neural-ode", seed, 0.80 + 0.9 * wiggle, 40.0, cost=cost),
            make_run("twin", seed, 0.90 - wiggle, 20.0, cost=cost),
            make_run("no-block", seed, 0.5 + 1.1 * wiggle, 0.0, cost=cost),
        ]
    (part,) = compare(runs, ACC, baseline="resnet").parts
    told = {row.label: row.difference.sentence for row in part.rows if row.difference}
    assert told["neural-ode"].startswith("neural-ode is worse than resnet by 10.01 ± 0.1")
    assert "points (4 seeds, p < 0.001" in told["neural-ode"]
    assert told["neural-ode"].endswith("at 2.0× the evaluations and 0.67× the time per epoch.")
    assert told["twin"].startswith("No difference is established between twin and resnet (-0.3 ±")
    assert told["twin"].endswith("at the same evaluations and 0.67× the time per epoch.")
    assert told["no-block"].endswith("at no evaluations and 0.67× the time per epoch.")
    (turned_round,) = compare(runs, ACC, baseline="no-block").parts
    best = turned_round.row("resnet").difference.sentence
    assert best.startswith("resnet is better than no-block by 39.99 ± 0.1")
    assert "at 20 evaluations against none" in best


def test_sentences_without_a_test(make_run):
    runs = [make_run("resnet", 0, 0.9), make_run("neural-ode", 0, 0.8), make_run("no-block", 7, 0.7)]
    (part,) = compare(runs, ACC).parts
    assert "share one seed only" in part.row("neural-ode").difference.sentence
    assert "no seed in common" in part.row("no-block").difference.sentence
