"""`integrand bench solvers`: rows are complete and consistent; how fast anything is is not tested."""

import json

import pytest
import torch

from integrand.benchmarks import solvers
from integrand.benchmarks.solvers_parts import LEAST, SUMS, _sums, _sums_by_blocks
from integrand.benchmarks.solvers_timing import measure, paired_row
from integrand.cli.bench import names, run
from integrand.errors import UsageError


def test_rows_of_the_smallest_field(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(solvers, "_budget", lambda problem, args: (0.0, 1))
    file = tmp_path / "rows.json"
    assert run(["solvers", "--quick", "--fields", "tiny", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())
    assert {"forward dopri5", "forward rk4", "training dopri5 checkpoint"} <= {r["case"] for r in rows}
    for row in rows:
        assert {"case", "field", "ratio", "reference", "target", "met"} <= row.keys()
        assert row["ratio"] > 0
        assert row["met"] == (None if row["target"] is None else row["ratio"] <= row["target"])
    assert "forward dopri5" in capsys.readouterr().out


def test_parts_of_a_solve(tmp_path):
    """Six stage sums of 20 stages in all; the parts and the evaluations are the whole solve."""
    assert (len(SUMS), LEAST) == (6, 20 + 2 * 6)
    file = tmp_path / "rows.json"
    assert run(["solvers", "--quick", "--parts", "--fields", "tiny", "--json", str(file)]) == 0
    ratios = {r["case"].removeprefix("dopri5 "): r["ratio"] for r in json.loads(file.read_text())}
    sums = {"stage sums", "stage sums by blocks", "error estimate", "copies of as many states"}
    assert ratios.keys() == {"solve", "rest"} | sums
    states = [torch.randn(300, 301) for _ in range(9)]
    for plain, by_blocks in zip(_sums(states), _sums_by_blocks(states), strict=True):
        assert torch.equal(plain, by_blocks)
    assert all(ratio > 0 for name, ratio in ratios.items() if name != "rest")


def test_ratios_are_medians_of_paired_repetitions():
    row = paired_row("a", "f", "b", [2.0, 9.0, 4.0], [1.0, 3.0, 4.0], target=2.5)
    assert row.ratio == 2.0  # of 2, 3 and 1, not 4 / 3 as the medians' ratio
    assert row.met
    assert row.repetitions == 3


def test_alternatives_are_interleaved():
    order = []
    times = measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.0, 5, seed=0)
    assert len(times["a"]) == len(times["b"]) == 5
    pairs = [set(order[i : i + 2]) for i in range(0, len(order), 2)]
    assert all(pair == {"a", "b"} for pair in pairs)


def test_unknown_benchmarks_are_named():
    assert "solvers" in names()
    assert not any("_" in name for name in names())
    with pytest.raises(UsageError, match="no benchmark 'solver'"):
        run(["solver"])
