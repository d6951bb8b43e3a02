"""What the page says about a comparison."""

import re
from datetime import UTC, datetime

import pytest
from PIL import Image

from integrand.comparison.records.groups import LeftOut
from integrand.report.artifacts import in_folder
from integrand.report.build import build_page
from integrand.report.commands import reproduction, run_command
from integrand.report.families import typical_run
from integrand.report.pictures import WIDTH, Album, shrink
from integrand.report.provenance import environment
from integrand.report.summary import health
from integrand.report.wording import enumeration, minus, plural, sentence

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def page(comparison, records):
    runs = [run for part in comparison.parts for row in part.rows for run in row.group.runs]
    return build_page(comparison, in_folder(records, [r.run_id for r in runs]), ["--records", "small"], NOW)


def test_head(page):
    assert (page.title, page.made) == ("small", "Made 2026-11-24 12:00 UTC with Integrand 0.1.0")
    assert page.subtitle == "4 groups on digits, compared by final/test_acc; larger is better."
    assert {unit: value for value, unit in page.facts} == {
        "groups": "4",
        "runs counted": "15",
        "seeds": "4",
        "of training": "15 min",
        "failed or missing": "1",
    }


def test_summary_separates_what_is_established_from_what_is_not(page, comparison):
    (found,) = page.findings
    verdicts = {row.label: row.difference.verdict for row in comparison.parts[0].rows if row.difference}
    assert verdicts["no-block"] == "worse"  # twenty points below, at a scatter of one
    assert re.match(
        r"neural-ode has the largest mean final/test_acc: \d+\.\d+ ± \d\.\d+ % \(4 seeds; ", found.lead
    )
    (worse,) = [text for text in found.established if text.startswith("no-block")]
    assert re.search(r"worse than neural-ode by \d+\.\d+ ± \d", worse)
    assert "evaluations" in worse
    open_ones = {label for label, verdict in verdicts.items() if verdict == "tie"}
    assert len(found.open) == len(open_ones)
    assert len(found.established) == 3 - len(open_ones)


def test_summary_names_the_pareto_fronts(page, comparison):
    (found,) = page.findings
    front = comparison.parts[0].pareto["nfe_forward"]
    assert front[0] == "no-block"
    (sentence,) = [text for text in found.costs if " → ".join(front) in text]
    assert "NFE forward" in sentence
    assert "NFE backward" not in " ".join(found.costs), "all groups make none: it tells nothing"


def test_health_counts_by_kind(page):
    assert page.health == "15 runs count. In no mean: 1 did not finish; each is listed with its reason."
    items = [LeftOut("missing", None, "a", s, "missing") for s in (1, 2)] + [
        LeftOut("failed", None, "a", 0, "x")
    ]
    assert "In no mean: 1 did not finish and 2 missing;" in health(items, 1)
    assert health([], 1) == "1 run counts. None failed, none is missing."


def test_every_figure_has_its_numbers_and_its_words(page):
    (part,) = page.parts
    figures = [*part.costs, part.differences, *part.training, *part.evaluations]
    assert [f.tab for f in part.costs] == ["NFE forward", "s/epoch", "parameters", "peak memory"]
    assert [f.title for f in part.training] == ["Quality over training", "Training loss"]
    assert [f.title for f in part.evaluations] == ["Forward evaluations over training"], (
        "nobody evaluates backward"
    )
    for figure in figures:
        assert figure.table.rows, figure.key
        assert figure.caption, figure.key
        assert len(re.findall(r'aria-label="[^"]{40,}"', str(figure.svg))) >= 2, figure.key


def test_curve_tables_sample_first_and_last_epoch(page):
    table = page.parts[0].training[0].table
    heads = [column.head for column in table.columns]
    assert (heads[1], heads[-1], len(heads)) == ("epoch 1", "epoch 10", 7)
    assert len(table.rows) == 4


def test_matrix_is_antisymmetric(page):
    matrix = page.parts[0].matrix
    assert matrix.labels[0] == "neural-ode"
    for i, row in enumerate(matrix.cells):
        assert row[i].text == ""
        for j, cell in enumerate(row):
            if i != j:
                # halves round to even on either side
                assert int(cell.text) + int(matrix.cells[j][i].text) in (99, 100, 101)
                assert cell.step == -matrix.cells[j][i].step
    assert matrix.cells[0][3].text == "100"


def test_families_have_card_seeds_curve_and_pictures(page):
    families = {family.identity.label: family for family in page.families}
    assert next(iter(families)) == "neural-ode"
    ode = families["neural-ode"]
    assert ode.card.title == "Neural ODE"
    assert "<mover" in ode.equation
    assert ode.solver == "dopri5 rtol=1e-3 atol=1e-3, gradients by backprop"
    (part,) = ode.parts
    assert len(part.seeds.rows) == 4
    assert part.curve is not None
    assert [p.name for p in part.pictures] == ["trajectories.png"], "the page draws the loss itself"
    assert part.pictures[0].alt == "Hidden states of 12 samples"
    assert "channels: 16" in part.config
    assert families["resnet"].parts[0].pictures == ()
    assert len(families["no-block"].parts[0].seeds.rows) == 3


def test_pictures_are_of_the_median_run(comparison):
    row = comparison.parts[0].row("neural-ode")
    run = typical_run(row, comparison.metric)
    values = sorted(row.group.values(comparison.metric))
    assert comparison.metric.of(run) in values[1:3]


def test_pictures_are_shrunk_and_readable(tmp_path):
    Image.new("RGBA", (1440, 900), (0, 0, 0, 0)).save(tmp_path / "wide.png")
    picture = shrink(tmp_path / "wide.png", "alt")
    assert (picture.width, picture.height) == (WIDTH, 450)
    assert picture.uri.startswith("data:image/webp;base64,")
    (tmp_path / "no.png").write_text("no picture")
    assert shrink(tmp_path / "no.png", "alt") is None


def test_budget_gives_every_run_its_first_picture_first(tmp_path, make_record):
    runs = []
    for seed in range(2):
        run = make_record("resnet", seed, figures=["figures/a.png", "figures/b.png", "../../outside.png"])
        (tmp_path / run.run_id / "figures").mkdir(parents=True)
        for name in run.figures[:2]:
            Image.new("RGB", (8, 8), "white").save(tmp_path / run.run_id / name)
        runs.append(run)
    size = len(shrink(tmp_path / runs[0].run_id / "figures/a.png", "").uri)
    album = Album(lambda run: tmp_path / run.run_id, budget=2 * size)
    found = album.collect(runs)
    assert [[p.name for p in pictures] for pictures, _ in found.values()] == [["a.png"], ["a.png"]]
    assert [left_out for _, left_out in found.values()] == [1, 1]


def test_environment_counts_runs_per_value(make_record):
    runs = [make_record("resnet", 0), make_record("resnet", 1), make_record("resnet", 2, provenance={})]
    runs[1].provenance = {**runs[1].provenance, "git_commit": "fedcba9876543210", "git_dirty": False}
    table = environment(runs)
    rows = [tuple(cell.text for cell in row) for row in table.rows]
    assert ("commit", "0123456789ab with uncommitted changes", "1") in rows
    assert ("commit", "fedcba987654", "1") in rows
    assert ("torch", "2.13.0", "2") in rows
    assert ("device", "Some CPU, 2 cores", "2") in rows
    assert ("determinism", "deterministic algorithms", "2") in rows
    assert ("lock file", "sha256:abababababab", "2") in rows
    assert table.note == "1 run recorded no provenance."


def test_commands_can_be_typed(make_record):
    run = make_record("resnet", 0)
    assert (
        run_command(run)
        == "integrand fit --config configs/published/cifar10/resnet_20.yaml --seed_everything 0"
    )
    steps = reproduction([run], ["--experiment", "small"], "small")
    assert [line for step in steps for line in step.lines] == [
        "git checkout 0123456789ab",
        "pip install -e . -c constraints.txt",
        "integrand suite run small",
        "integrand report --experiment small",
    ]
    assert "uncommitted changes" in steps[0].what
    alone = reproduction([make_record("resnet", 0, suite="")], [], None)
    assert run_command(run) in [line for step in alone for line in step.lines]


def test_several_data_sets_have_parts_of_their_own(
    tmp_path, make_record, make_suite, save_records, compare_folder
):
    runs = make_suite()
    other = {"name": "fashion-mini", "digest": "sha256:bb", "n_train": 1, "n_val": 1, "n_test": 1}
    runs += [
        make_record(f, s, data=other, run_id=f"{i:x}{s:x}" * 16)
        for i, f in enumerate(("resnet", "neural-ode"), 10)
        for s in range(3)
    ]
    page = build_page(compare_folder(save_records(runs, tmp_path / "two")), now=NOW)
    assert [part.name for part in page.parts] == ["digits", "fashion-mini"]
    assert [finding.data for finding in page.findings] == ["digits", "fashion-mini"]
    assert page.overall is not None
    resnet = next(f for f in page.families if f.identity.label == "resnet")
    assert [part.data for part in resnet.parts] == ["digits", "fashion-mini"]
    keys = [f.key for part in page.parts for f in (*part.costs, part.differences, *part.training)]
    assert len(set(keys)) == len(keys)


def test_one_run_without_anything_still_makes_a_page(tmp_path, make_record, save_records, compare_folder):
    bare = make_record("", 0, history={}, cost={}, provenance={}, config={}, suite="")
    bare.metrics = {"final/test_acc": 0.5}
    page = build_page(compare_folder(save_records([bare], tmp_path / "one")), now=NOW)
    (part,) = page.parts
    assert (part.differences, part.matrix, part.training, part.costs) == (None, None, (), ())
    assert "nothing to compare it with" in page.findings[0].lead
    assert page.families[0].card is None


def test_words():
    assert (plural(1, "seed"), plural(1200, "run")) == ("1 seed", "1,200 runs")
    assert [enumeration(list("abc"[:n])) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert minus("-1.5 to -2, neural-ode-2 1e-3") == "−1.5 to −2, neural-ode-2 1e-3"
    assert sentence("larger: 1 ± 2 %") == "Larger: 1\u00a0±\u00a02\u00a0%"


def test_very_many_groups_stay_readable_and_small(tmp_path, make_record, save_records, compare_folder):
    """A thousand runs of a sweep may be a thousand groups; figures show the best, tables show all."""
    runs = [
        make_record(f"family-{i:03d}", 0, run_id=f"{i:032x}", metrics={"final/test_acc": 0.9 - 0.001 * i})
        for i in range(160)
    ]
    for i, run in enumerate(runs):
        run.cost["parameters"] = 1000.0 + i
        run.metrics["solver/nfe_forward"] = float(i)
    page = build_page(compare_folder(save_records(runs, tmp_path / "many")), now=NOW)
    (part,) = page.parts
    assert len(part.tables["quality"].rows) == 160
    assert "Shown are the 150 best of 160 groups, and the front." in part.costs[0].caption
    assert len(part.costs[0].legend) == 150
    assert part.training[0].caption.endswith("Shown are the 40 best of 160 groups.")
    assert part.matrix is None
    assert (len(page.families), page.more_families) == (100, 60)
    assert page.families[0].identity.label == "family-000"
