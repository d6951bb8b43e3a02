"""Tables, CSV files and figures, read back."""

import csv
import subprocess
import sys

import matplotlib.image
import pytest

from integrand.cli import compare as command
from integrand.comparison.analysis import compare
from integrand.comparison.files.cost_figure import _quality_limits, quality_against_cost
from integrand.comparison.files.write import write
from integrand.comparison.measures import NFE_FORWARD, Metric
from integrand.comparison.statistics.estimates import estimate
from integrand.comparison.tables import formatting
from integrand.comparison.tables.markdown import markdown
from integrand.errors import TrackingError, UsageError

ACC = Metric("final/test_acc", "max", True)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.80, 0.82, 0.84], "82.0 ± 5.0"),
        ([0.8], "80.00"),
        ([0.8, 0.8], "80.00 ± 0.00"),
        ([0.1, 0.9], "50 ± 508"),
    ],
)
def test_quality_shows_the_digits_that_the_interval_supports(values, text):
    assert formatting.quality(estimate(values), 100.0) == text


def test_numbers():
    assert formatting.p_value(0.0004) == "< 0.001"
    assert formatting.p_value(0.0952) == "0.095"
    assert formatting.p_value(None) == "–"
    assert formatting.cost("peak_memory_mb", estimate([1536.0])) == "1.50 GiB"
    assert formatting.cost("parameters", estimate([12345.0])) == "12,345"
    assert formatting.cost("nfe_forward", estimate([14.0])) == "14"
    assert formatting.cost("nfe_forward", estimate([14.0, 14.5])) == "14.2"
    assert formatting.cost("nfe_forward", None) == "–"
    assert formatting.difference(estimate([-0.002]), 100.0) == "-0.20"
    assert formatting.difference(estimate([-0.01, -0.03]), 100.0).startswith("-2")


def test_csv_holds_every_group_and_every_run(tmp_path, three_families, make_run):
    lost = make_run("resnet", 7, None, status="FAILED", error={"type": "Oops", "message": "x"})
    comparison = compare([*three_families, lost], ACC)
    write(comparison, tmp_path)
    groups = {row["group"]: row for row in rows(tmp_path / "table.csv")}
    assert list(groups) == ["neural-ode", "resnet", "no-block"]
    ode = groups["neural-ode"]
    values = [r.metrics["final/test_acc"] for r in three_families if r.family == "neural-ode"]
    expected = estimate(values)
    assert (float(ode["mean"]), float(ode["ci_low"]), int(ode["n"])) == (expected.mean, expected.low, 4)
    assert ode["values"] == " ".join(f"{seed}:{value!r}" for seed, value in enumerate(values))
    assert (ode["nfe_forward"], ode["verdict"], ode["peak_memory_mb"]) == ("20.0", "reference", "")
    assert groups["no-block"]["verdict"] == "worse"
    assert groups["no-block"]["p_sign_flip"] == "0.125"  # four seeds, all of one sign: 2 of 16 patterns
    runs = rows(tmp_path / "runs.csv")
    assert len(runs) == 13
    assert sum(row["counted"] == "True" for row in runs) == 12
    assert runs[-1]["reason"] == "failed: Oops: x"
    assert (runs[-1]["run_id"], runs[-1]["seed"]) == (lost.run_id, "7")


def test_missing_runs_have_their_seed_in_the_csv(tmp_path, make_run):
    runs = [make_run("resnet", s) for s in range(3)] + [make_run("no-block", 0)]
    write(compare(runs, ACC), tmp_path)
    missing = [r for r in rows(tmp_path / "runs.csv") if r["status"] == "MISSING"]
    assert [(r["group"], r["seed"]) for r in missing] == [("no-block", "1"), ("no-block", "2")]


def test_markdown_says_it_all(three_families, make_run):
    text = markdown(
        compare([*three_families, make_run("resnet", 7, None, status="KILLED")], ACC, title="quickstart")
    )
    assert text.startswith("# quickstart\n")
    for part in (
        "Student t, 95 %",
        "| no-block | 4 |",
        "▼ worse",
        "≈ tie",
        "seed 3: 90.5",
        "| resnet | 7 |",
        "killed",
    ):
        assert part in text
    table_lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert len({line.count(" | ") for line in table_lines[:5]}) == 1


def test_figures_are_seven_by_five_and_one_per_recorded_cost(tmp_path, three_families):
    paths = write(compare(three_families, ACC), tmp_path)
    # only the ResNet recorded seconds: still a figure, with a remark; see the caption test
    assert [p.name for p in paths if p.suffix == ".png"] == [
        "quality_nfe.png",
        "quality_seconds.png",
        "quality_parameters.png",
    ]
    height, width, _ = matplotlib.image.imread(tmp_path / "quality_nfe.png").shape
    assert width / height == pytest.approx(7 / 5, rel=0.01)


def test_parts_get_figures_of_their_own(tmp_path, make_run):
    other = make_run("resnet", 0, data={"name": "Other Data", "digest": "b"})
    paths = write(compare([make_run("resnet", 0), make_run("resnet", 1), other], ACC), tmp_path)
    assert {"quality_nfe_1_digits.png", "quality_nfe_2_other-data.png"} <= {p.name for p in paths}


def test_figure_shows_every_seed_and_names_every_group(three_families):
    comparison = compare(three_families, ACC, title="t")
    (part,) = comparison.parts
    figure = quality_against_cost(comparison, part, NFE_FORWARD)
    (axes,) = figure.axes
    drawn = sorted(
        tuple(map(float, xy)) for c in axes.collections if hasattr(c, "get_offsets") for xy in c.get_offsets()
    )
    seeds = sorted(
        (r.metrics["solver/nfe_forward"], 100 * r.metrics["final/test_acc"]) for r in three_families
    )
    assert [xy for xy in drawn if xy in seeds] == seeds
    labels = [t for t in axes.texts if t.get_text() in ("neural-ode", "resnet", "no-block")]
    assert len(labels) == 3
    renderer = figure.canvas.get_renderer()
    boxes = [t.get_window_extent(renderer) for t in labels]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    # NFE 0 (no block) cannot stand on a plain logarithmic axis
    assert axes.get_xscale() == "linear"


def test_wide_range_with_zero_gets_a_scale_that_has_zero(make_run):
    runs = [
        make_run(f, s, 0.8 + 0.01 * s, nfe=nfe)
        for f, nfe in (("no-block", 0.0), ("resnet", 2.0), ("neural-ode", 200.0))
        for s in range(2)
    ]
    comparison = compare(runs, ACC)
    figure = quality_against_cost(comparison, comparison.parts[0], NFE_FORWARD)
    assert figure.axes[0].get_xscale() == "symlog"
    left, right = figure.axes[0].get_xlim()
    assert left < 0
    assert 200 < right < 2000


def test_a_huge_interval_does_not_flatten_the_picture(make_run):
    """Two seeds one point apart have an interval of ±6 points; twenty of them may not set the axis."""
    runs = [make_run("resnet", s, 0.80 + 0.01 * s) for s in range(2)]
    comparison = compare(runs, ACC)
    low, high = _quality_limits(comparison, comparison.parts[0].rows)
    assert 78.5 < low < 80
    assert 81 < high < 82.5


@pytest.fixture
def folder(tmp_path, three_families):
    for run in three_families:
        path = tmp_path / "records" / run.run_id / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(run.to_json(), encoding="utf-8")
    return tmp_path / "records"


def test_command_on_a_folder(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.run(["--records", str(folder), "--baseline", "resnet"]) == 0
    out = capsys.readouterr().out
    assert "Differences to resnet, paired by seed" in out
    assert "Every run is in the table." in out
    assert {p.name for p in (tmp_path / "compare" / "records").iterdir()} == {
        "table.csv",
        "runs.csv",
        "pairs.csv",
        "table.md",
        "table.tex",
        "figures.json",
        "quality_nfe.png",
        "quality_seconds.png",
        "quality_parameters.png",
    }


def test_command_on_some_runs(folder, tmp_path, capsys):
    command.run(["--records", str(folder), "--runs", "00", "01", "--out", str(tmp_path / "o")])
    assert len(rows(tmp_path / "o" / "runs.csv")) == 2
    with pytest.raises(UsageError, match="no runs have an id"):
        command.run(["--records", str(folder), "--runs", "zz"])


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "which runs"),
        (["--records", "nowhere"], "no folder nowhere"),
        (["--records", ".", "--filter", "x"], "--filter"),
        (["--experiment", "x", "--group-by", "famly"], "did you mean"),
        (["--experiment", "x", "--baselin", "y"], "did you mean --baseline"),
    ],
)
def test_wrong_usage_is_one_line(argv, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=says):
        command.run(argv)


def test_unwritable_output_is_one_line(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError, match="--out"):
        command.run(["--records", str(folder), "--out", str(tmp_path / "file" / "x")])


def test_nothing_comparable_is_not_success(tmp_path, make_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "record.json").write_text(make_run(status="FAILED").to_json())
    with pytest.raises(UsageError, match="finished"):
        command.run(["--records", str(tmp_path)])


def test_the_whole_command_never_imports_torch(folder, tmp_path):
    script = (
        "import sys; from integrand.cli import compare; "
        f"compare.run(['--records', {str(folder)!r}, '--out', {str(tmp_path / 'o')!r}]); "
        "print('LOADED', *({'torch', 'lightning', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
