"""The files of a comparison with everything in it: several tables, LaTeX, CSV, figures with descriptions."""

import csv
import json
import re
import types

import matplotlib.image
import numpy as np
import pytest

from integrand.benchmarks import comparison as bench
from integrand.cli import bench as bench_command
from integrand.comparison.analysis import compare
from integrand.comparison.files.write import write
from integrand.comparison.measures import COSTS, Metric
from integrand.comparison.tables.contents import comparison_tables, part_tables
from integrand.comparison.tables.formatting import quality
from integrand.comparison.tables.latex import escape, latex
from integrand.comparison.tables.markdown import markdown
from integrand.figures.palette import COLOURS

ACC = Metric("final/test_acc", "max", True)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def everything():
    """The benchmark's records: 60 runs with curves, costs, evaluations and failures; and a second data set."""
    records = [bench.generate_record(i, points=40) for i in range(60)]
    for index in range(60, 72):
        record = bench.generate_record(index % 60, points=40)
        record.run_id, record.data = f"other-{index}", record.data | {"name": "Other & data_2", "digest": "b"}
        record.evaluates = {}
        records.append(record)
    return compare(records, ACC, title="all_of it")


def test_every_table_is_there_and_rectangular(everything):
    part = everything.parts[0]
    tables = part_tables(everything, part)
    assert [t.key for t in tables] == ["quality", "costs", "differences", "pairs", "reach", "sensitivity"]
    assert [t.key for t in comparison_tables(everything)] == ["overall", "left_out"]
    for table in (*tables, *comparison_tables(everything)):
        assert {len(row) for row in table.rows} == {len(table.columns)}, table.key
        for index, column in enumerate(table.columns):
            if column.numeric:  # sorts by number or not at all
                assert all(isinstance(row[index].value, float | int | None) for row in table.rows)
    assert len(tables[3].rows) == 45
    assert tables[0].rows[tables[0].emphasis][0].text == part.reference


def test_methods_are_named_in_every_table_with_an_interval(everything):
    tables = {
        t.key: t for t in (*part_tables(everything, everything.parts[0]), *comparison_tables(everything))
    }
    assert "Student t, 95 %" in tables["quality"].note
    assert "Newcombe" in tables["pairs"].note
    assert "Holm over all 45 pairs" in tables["differences"].note
    assert "no interval: one value" in tables["sensitivity"].note
    assert "Zou and Donner" in tables["overall"].note


def test_costs_that_no_run_recorded_have_no_column(everything):
    costs = part_tables(everything, everything.parts[0])[1]
    heads = [column.head for column in costs.columns]
    assert heads == ["group", "parameters", "NFE forward", "NFE backward", "VJPs", "s/epoch", "peak memory"]
    assert "†" in costs.note


def test_recorded_energy_is_a_cost_like_any_other(make_run):
    runs = [
        make_run(f, s, cost={"energy_joules": e})
        for f, e in (("resnet", 50.0), ("node", 90.0))
        for s in (0, 1)
    ]
    (part,) = compare(runs, ACC).parts
    assert part.row("node").costs["energy_joules"].mean == 90.0
    assert part.pareto["energy_joules"] == ("resnet",)
    assert any(c.head == "energy (J)" for c in part_tables(compare(runs, ACC), part)[1].columns)


def test_latex_is_well_formed(everything):
    text = latex(everything)
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert opened.count("table") == text.count(r"\end{table}") > 8
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == opened.count("tabular")
    body = re.sub(r"\\[{}]", "", text)
    assert body.count("{") == body.count("}")
    # characters of the names that are commands of LaTeX
    assert r"Other \& data\_2" in text
    # what is left beyond ASCII is letters of a UTF-8 document
    assert not re.search(r"[±≈★▲▼†×Δ→≥–]", text)
    for block in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end", text, re.S):
        lines = [line for line in block[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {len(block[0]) - 1}
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(set(labels)) == len(labels)


def test_latex_escapes_what_would_be_a_command():
    assert escape(r"a_b & 5 % \x{y} #1 $2 ~^") == (
        r"a\_b \& 5 \% \textbackslash{}x\{y\} \#1 \$2 \textasciitilde{}\textasciicircum{}"
    )
    assert escape("1.2 ± 0.4 ≈ –") == r"1.2 $\pm$ 0.4 $\approx$ --"


@pytest.fixture(scope="module")
def written(everything, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    return folder, write(everything, folder)


def test_csv_files_hold_all_of_it(everything, written):
    folder, _ = written
    table = rows(folder / "table.csv")
    part = everything.parts[0]
    first = next(r for r in table if r["group"] == part.rows[0].label and r["data"] == "generated")
    assert float(first["target"]) == part.target.value
    assert float(first["target_seconds_of_half"]) == part.rows[0].reach.seconds
    assert first["parameters_pareto"] == str(part.rows[0].label in part.pareto["parameters"])
    assert {f"{cost.key}_pareto" for cost in COSTS} <= first.keys()
    pairs = rows(folder / "pairs.csv")
    assert len([r for r in pairs if r["data"] == "generated"]) == 45
    assert float(pairs[0]["p_better"]) == part.pairs[0].improvement.probability
    sensitivity = rows(folder / "sensitivity.csv")
    assert len(sensitivity) == len(part.sensitivity)
    assert float(sensitivity[0]["change"]) == part.sensitivity[0].paired.estimate.mean
    curves = rows(folder / "curves.csv")
    curve = part.rows[0].curves["quality"]
    mine = [
        r
        for r in curves
        if (r["data"], r["group"], r["curve"]) == ("generated", part.rows[0].label, "quality")
    ]
    assert [float(r["mean"]) for r in mine] == list(curve.mean)
    assert {r["group"] for r in rows(folder / "overall.csv")} == {r.label for r in everything.overall.rows}
    runs = rows(folder / "runs.csv")
    evaluations = [r for r in runs if "evaluation with euler" in r["reason"]]
    assert {r["counted"] for r in evaluations} == {"False"}
    assert len(runs) == 72 + sum(
        o.run is None for o in everything.left_out
    )  # every run once, and the missing
    reached = {r["run_id"]: r for r in runs if r["target_reached"]}
    assert reached[part.rows[0].reach.runs[0].run_id]["target_epoch"] == str(part.rows[0].reach.runs[0].epoch)


def test_markdown_holds_every_table_and_finding(everything):
    text = markdown(everything)
    for part in everything.parts:
        for table in part_tables(everything, part):
            assert table.title in text
    for sentence in everything.sentences:
        assert sentence in text
    assert "## Over 2 data sets: generated, Other & data_2" in text


def test_figures_come_with_descriptions(everything, written):
    folder, files = written
    described = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    figures = [path for path in files if path.suffix == ".png"]
    assert described.keys() == {path.name for path in figures} == {p.name for p in folder.glob("*.png")}
    assert "curve_nfe_forward_1_generated.png" in described
    best = everything.parts[0].rows[0]
    alt = described["quality_nfe_1_generated.png"]["alt"]
    assert alt.startswith("Scatter plot of final/test_acc (%) against forward NFE")
    assert f"{best.label} {quality(best.quality, 100)} at 54" in alt
    assert "Pareto front" in alt
    assert "epoch 40" in described["curve_quality_1_generated.png"]["alt"]
    height, width, _ = matplotlib.image.imread(figures[0]).shape
    assert width / height == pytest.approx(7 / 5, rel=0.01)


def test_colours_differ_also_for_colour_blind_readers():
    """Simulated deuteranopia and protanopia (Viénot et al. 1999): every two colours stay apart in sRGB."""
    to_lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.02996, 0.18431, 1.46709]])
    blind = {
        "protan": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
        "deutan": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
    }
    colours = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in COLOURS])
    for matrix in blind.values():
        seen = np.clip((np.linalg.inv(to_lms) @ matrix @ to_lms @ (colours**2.2).T).T, 0, 1) ** (1 / 2.2)
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
        # 0.1 of the unit cube's edge is some 25 of 255 steps, plainly visible side by side; markers differ too
        assert np.min(distance[np.triu_indices(len(COLOURS), 1)]) > 0.1


def test_benchmark_fails_where_a_target_is_missed(monkeypatch, capsys):
    def step(value):
        return lambda records, runs, out: [
            bench.Measured("step", value * len(list(records.rglob("record.json"))) / runs, "s", 2.0)
        ]

    arguments = types.SimpleNamespace(runs=3, points=2)
    monkeypatch.setattr(bench, "STEPS", [step(1.0)])
    assert bench.run(arguments) == 0
    monkeypatch.setattr(bench, "STEPS", [step(1.0), step(3.0)])
    assert bench.run(arguments) == 1
    assert capsys.readouterr().out.count("MISSED") == 1


def test_benchmark_compares_what_it_generates(capsys, monkeypatch):
    monkeypatch.setattr(bench, "STEPS", [bench.measure_compare])
    monkeypatch.setattr(bench, "TARGET_SECONDS", 1e9)  # how fast this machine is, is no matter of a test
    assert bench_command.run(["comparison", "--runs", "40", "--points", "40"]) == 0
    out = capsys.readouterr().out
    assert "compare" in out
    assert "memory" in out
