"""Comparison of samplers over models: means, pairing, what counts, and the command."""

import csv
import math

import pytest
from mlflow.tracking import MlflowClient
from scipy import stats

from integrand.cli.main import main
from integrand.comparison.samplers import SampleScore, compare_samplers
from integrand.comparison.samplers.kinds import MOST, panels
from integrand.comparison.samplers.tables import difference_table, quality_table
from integrand.errors import UsageError

NAME = "FD-0123abcd"


@pytest.fixture
def score(make_run):
    """A sampling of the model of a seed; every field can be overridden."""
    models = {}
    count = iter(range(10_000))

    def make(sampler="ddim", budget=10, seed=0, value=5.0, floor=3.0, family="diffusion", **fields):
        model = models.setdefault((family, seed), make_run(family, seed))
        number = next(count)
        values = {
            "run_id": f"sampling-{number}",
            "model": model,
            "sampler": sampler,
            "setting": "uniform",
            "budget": budget,
            "nfe": float(budget),
            "seconds": 1.0,
            "n": 256,
            "seed": 0,
            "failed": 0,
            "scores": {} if value is None else {NAME: value, "coverage-0123abcd": 0.5},
            "floors": {NAME: floor, "coverage-0123abcd": 0.9},
            "started": float(number),
        }
        return SampleScore(**(values | fields))

    return make


def three(score, sampler, values, **fields):
    return [score(sampler, seed=seed, value=value, **fields) for seed, value in enumerate(values)]


def test_mean_interval_and_paired_test_are_scipys(score):
    a, b = [5.0, 6.0, 5.5], [4.0, 4.9, 4.6]
    (part,) = compare_samplers([*three(score, "ddim", a), *three(score, "unipc", b)]).parts
    cell = part.cells["unipc", 10]
    low, high = stats.t.interval(0.95, 2, loc=4.5, scale=stats.sem(b))
    assert cell.estimate.mean == pytest.approx(4.5)
    assert (cell.estimate.low, cell.estimate.high) == pytest.approx((low, high))
    # one comparison at this budget, so Holm changes nothing
    assert cell.p == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert cell.verdict == "better"
    assert part.cells["ddim", 10].paired is None


def test_holm_covers_the_samplers_of_one_budget(score):
    scores = three(score, "ddim", [5.0, 6.0, 5.5])
    for i in range(4):
        scores += three(score, f"s{i}", [4.0 + 0.1 * i, 4.9 + 0.05 * i, 4.6])
        scores += three(score, f"s{i}", [1.0, 2.0, 3.0 + i], budget=20)
    (part,) = compare_samplers(scores).parts
    raw = [stats.ttest_rel([4.0 + 0.1 * i, 4.9 + 0.05 * i, 4.6], [5.0, 6.0, 5.5]).pvalue for i in range(4)]
    smallest = min(range(4), key=raw.__getitem__)
    assert part.cells[f"s{smallest}", 10].p == pytest.approx(4 * raw[smallest])
    # the baseline was not sampled at 20
    assert part.cells["s0", 20].p is None


def test_samplers_are_ordered_by_rank_and_settle_within_a_tenth_of_their_best(score):
    scores = [
        score("ddim", 5, value=20.0),
        score("ddim", 10, value=8.0),
        score("ddim", 20, value=5.4),
        score("unipc", 5, value=9.0),
        score("unipc", 10, value=5.4),  # 5.4 < 1.1 · 5.0
        score("unipc", 20, value=5.0),
    ]
    comparison = compare_samplers(scores)
    (part,) = comparison.parts
    assert part.samplers == ("unipc", "ddim")
    assert part.settles("unipc", comparison.metric) == 10
    assert part.settles("ddim", comparison.metric) == 20
    table = quality_table(part, comparison.metric)
    assert [cell.text for cell in table.rows[0]] == ["unipc", "9.000", "5.400", "5.000", "10"]
    assert table.emphasis == 1


def test_larger_scores_win_where_larger_is_better(score):
    scores = [
        score(s, scores={"coverage-0123abcd": v}, floors={"coverage-0123abcd": 0.9})
        for s, v in (("ddim", 0.3), ("unipc", 0.7))
    ]
    comparison = compare_samplers(scores, "coverage")
    assert comparison.metric.mode == "max"
    assert comparison.parts[0].samplers == ("unipc", "ddim")


def test_later_samplings_and_later_models_replace_earlier_ones(score, make_run):
    old = score(value=1.0, model=make_run("diffusion", 0))
    scores = [old, score(value=7.0), score(value=9.0)]
    comparison = compare_samplers(scores)
    assert comparison.parts[0].cells["ddim", 10].values == {0: 9.0}
    assert "2 samplings" in comparison.notes[0]


def test_several_seeds_of_the_samples_are_one_model(score):
    scores = [score(value=v, seed=0) for v in (4.0,)] + [
        SampleScore(**{**vars(score(value=6.0)), "seed": 1, "run_id": "other"})
    ]
    cell = compare_samplers(scores).parts[0].cells["ddim", 10]
    assert cell.values == {0: 5.0}
    assert cell.estimate.low is None


def test_failed_models_are_counted_and_have_no_score(score):
    scores = three(score, "ddim", [5.0, 6.0, 5.5])
    scores += [score("pc", seed=0, value=4.0), score("pc", seed=1, value=None, failed=3)]
    scores.append(score("heun", value=None, failed=256))
    comparison = compare_samplers(scores)
    (part,) = comparison.parts
    assert (part.cells["pc", 10].failed, part.cells["pc", 10].values) == (1, {0: 4.0})
    texts = {row[0].text: row[1].text for row in quality_table(part, comparison.metric).rows}
    assert texts["pc"] == "4.000 (1 failed)"
    assert texts["heun"] == "1 failed"
    assert part.samplers[-1] == "heun"


def test_sizes_models_and_digests_are_kept_apart(score):
    scores = [
        score(),
        score(n=512),
        score(family="edm"),
        score(scores={"FD-ffffffff": 1.0}, floors={"FD-ffffffff": 1.0}),
    ]
    comparison = compare_samplers(scores)
    assert len(comparison.parts) == 4
    assert any("say nothing about each other" in note for note in comparison.notes)


def test_grids_of_one_sampler_are_told_apart(score):
    (part,) = compare_samplers([score(), score(setting="karras", value=4.0)]).parts
    assert set(part.samplers) == {"ddim (uniform)", "ddim (karras)"}


def test_only_established_differences_are_listed(score):
    scores = three(score, "ddim", [5.0, 6.0, 5.5])
    scores += three(score, "unipc", [4.0, 5.01, 4.5]) + three(score, "pc", [4.0, 7.0, 5.6])
    comparison = compare_samplers(scores)
    rows = difference_table(comparison.parts[0], comparison.metric).rows
    assert [row[1].text for row in rows] == ["unipc"]
    assert math.isclose(rows[0][2].value, -0.99667, rel_tol=1e-3)


def test_unknown_score_and_sampler(score):
    with pytest.raises(UsageError, match=r"no score is called 'FID'.*FD-0123abcd, coverage-0123abcd"):
        compare_samplers([score()], "FID")
    with pytest.raises(UsageError, match=r"no sampler of diffusion is called 'unipc'.*ddim"):
        compare_samplers([score()], baseline="unipc")


def test_thirty_samplers_make_panels_that_can_be_read():
    from integrand.cli.sampler_names import SAMPLERS

    groups = panels(list(SAMPLERS))
    assert sorted(s for _, own in groups for s in own) == sorted(SAMPLERS)
    assert max(len(own) for _, own in groups) <= MOST
    assert "others" not in dict(groups)
    assert panels(["ddim", "pc"]) == [("", ["ddim", "pc"])]


@pytest.fixture
def sampled(tmp_path, make_run, monkeypatch):
    """A store with two training runs and what a sweep records of them."""
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("study", f"file://{tmp_path}/artifacts")
    for seed in (0, 1):
        run = client.create_run(experiment, run_name=f"model-{seed}")
        client.log_text(run.info.run_id, make_run("diffusion", seed).to_json(), "record.json")
        client.set_terminated(run.info.run_id)
        for sampler, value in (("ddim", 6.0 + seed), ("unipc", 4.0 + seed / 2)):
            child = client.create_run(
                experiment, tags={"role": "sampling", "mlflow.parentRunId": run.info.run_id}
            )
            for key, text in {"sampler_name": sampler, "nfe": "10", "n": "64", "seed": "0"}.items():
                client.log_param(child.info.run_id, key, text)
            metrics = {NAME: value, f"{NAME}_floor": 3.0, "nfe": 10.0, "seconds": 1.0, "failed": 0.0}
            for key, number in metrics.items():
                client.log_metric(child.info.run_id, key, number)
            client.set_terminated(child.info.run_id)
    return uri


def test_the_command_prints_and_writes(sampled, tmp_path, capsys):
    assert main(["compare-samplers", "--experiment", "study", "--tracking-uri", sampled]) == 0
    printed = capsys.readouterr().out
    assert "Data against data: 3." in " ".join(printed.split())
    folder = tmp_path / "compare" / "study-samplers"
    with (folder / "samplers.csv").open() as file:
        rows = {row["sampler"]: row for row in csv.DictReader(file)}
    assert float(rows["unipc"]["mean"]) == 4.25
    assert float(rows["unipc"]["difference"]) == -2.25
    assert len((folder / "samplings.csv").read_text().splitlines()) == 5
    assert (folder / "quality_nfe.png").read_bytes().startswith(b"\x89PNG")
    assert "| unipc |" in (folder / "table.md").read_text()


def test_the_command_says_what_is_missing(sampled, capsys):
    assert main(["compare-samplers"]) == 2
    assert "which runs?" in capsys.readouterr().err
    assert main(["compare-samplers", "--experiment", "studdy", "--tracking-uri", sampled]) == 2
    assert "did you mean study" in capsys.readouterr().err
    client = MlflowClient(tracking_uri=sampled)
    experiment = client.get_experiment_by_name("study").experiment_id
    for run in client.search_runs([experiment], "tags.role = 'sampling'"):
        client.delete_run(run.info.run_id)
    assert main(["compare-samplers", "--experiment", "study", "--tracking-uri", sampled]) == 2
    assert "sweep-samplers --run ID" in capsys.readouterr().err
