"""Several suites on one page: every arm in its row, every data set in its column, and links that lead somewhere."""

import re

import pytest

from integrand.cli import report as command
from integrand.errors import UsageError
from integrand.report.atlas import build_atlas, markdown
from integrand.report.render import render_atlas


@pytest.fixture(scope="module")
def suites(make_suite, make_record, save_records, tmp_path_factory):
    """Two suites: the small one, and one on other data with fewer arms, of which one is another's variant."""
    folder = tmp_path_factory.mktemp("suites")
    save_records(make_suite(), folder / "small")
    wine = {"name": "wine", "digest": "sha256:bb", "n_train": 100, "n_val": 20, "n_test": 50}
    runs = [make_record(f, s, data=wine, suite="tables") for f in ("resnet", "no-block") for s in range(3)]
    runs += [make_record("my-own", s, data=wine, suite="tables") for s in range(3)]
    save_records(runs, folder / "tables")
    return folder


@pytest.fixture(scope="module")
def comparisons(suites, compare_folder):
    return {name: compare_folder(suites / name) for name in ("small", "tables")}


@pytest.fixture(scope="module")
def atlas(comparisons):
    return build_atlas(comparisons, {"small": "small/report.html"}, ["integrand suite run small"])


def rows_of(atlas):
    return {row.label: row for _, rows in atlas.groups for row in rows}


def test_arms_are_rows_and_data_sets_columns(atlas):
    assert [(c.suite, c.data) for c in atlas.columns] == [("small", "digits"), ("tables", "wine")]
    assert [group for group, _ in atlas.groups] == ["control", "discrete", "continuous", "others"]
    rows = rows_of(atlas)
    assert set(rows) == {"no-block", "resnet", "neural-ode", "heavy-ball-neural-ode", "my-own"}
    assert [cell is None for cell in rows["neural-ode"].cells] == [False, True]
    assert all(rows["resnet"].cells)
    assert [cell is None for cell in rows["my-own"].cells] == [True, False]


def test_a_cell_says_what_the_comparison_says(atlas, comparisons):
    for i, found in enumerate(comparisons.values()):
        (part,) = found.parts
        for row in part.rows:
            (cell,) = [r.cells[i] for r in rows_of(atlas).values() if r.label in row.label.split()]
            assert cell.standing == (row.difference.verdict if row.difference else "reference")
            assert float(cell.quality.split()[0]) == pytest.approx(100 * row.quality.mean, abs=0.05)
    assert rows_of(atlas)["neural-ode"].cells[0].costs == "26 NFE, 0.621 s/epoch"  # 0.1 + 0.02 · 26 + 0.0015


def test_two_arms_that_differ_in_the_solver_alone_stay_apart(
    make_record, save_records, compare_folder, tmp_path
):
    runs = [
        make_record(
            "neural-ode",
            seed,
            run_id=f"{i}{seed}" * 16,
            solver=solver,
            config_digest=solver,
            config={"model": {"class_path": "NeuralODE", "init_args": {"solver": {"class_path": solver}}}},
        )
        for seed in range(3)
        for i, solver in enumerate(("Euler", "RK4"))
    ]
    atlas = build_atlas({"one": compare_folder(save_records(runs, tmp_path / "one"))})
    assert len(rows_of(atlas)) == 2


def test_the_page_is_whole_by_itself_and_escapes_names(atlas):
    html = render_atlas(atlas)
    assert '<a href="small/report.html">small</a>' in html
    assert html.count('class="num reference"') == 2
    assert not re.search(r'(src|href)="(https?:)?//', html)
    text = markdown(atlas)
    assert "[digits: small](small/report.html)" in text
    lengths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert lengths == {4}


def test_the_command_writes_the_page_and_what_it_links_to(suites, tmp_path, capsys):
    out = tmp_path / "atlas"
    words = ["--atlas", "small", "tables", "--records", str(suites), "--out", str(out)]
    assert command.run([*words, "--link", "tables=tables.md"]) == 0
    assert {p.name for p in out.iterdir()} == {"atlas.html", "atlas.md", "small"}
    html = (out / "atlas.html").read_text()
    assert 'href="tables.md"' in html
    assert (out / "small" / "report.html").is_file()
    assert "integrand suite run tables" in html
    assert "atlas.html" in capsys.readouterr().out


def test_an_option_given_twice_adds_up(suites, tmp_path):
    """The last one alone would write over the page of the first."""
    words = ["--atlas", "small", "--atlas", "tables", "--records", str(suites), "--out", str(tmp_path / "a")]
    assert command.run([*words, "--link", "tables=tables.md", "--link", "small=small.md"]) == 0
    html = (tmp_path / "a" / "atlas.html").read_text()
    assert 'href="tables.md"' in html
    assert 'href="small.md"' in html


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--atlas", "small", "--experiment", "small"], "--experiment is for one report"),
        (["--atlas", "small", "--link", "tables=x"], "links no suite of the atlas"),
        (["--atlas", "small", "--link", "small"], "links no suite of the atlas"),
        (["--link", "small=x"], "--link is for --atlas"),
    ],
)
def test_what_does_not_fit_is_refused(words, message, suites):
    with pytest.raises(UsageError, match=message):
        command.run([*words, "--records", str(suites)])
