"""`integrand bench grids`: exact scores, complete rows, and W₂ that reaches the floor."""

import json

import torch

from integrand.benchmarks import grids as module
from integrand.benchmarks.grids import DATA, PROCESSES, grids
from integrand.cli.bench import names, run


def test_rows(tmp_path, capsys, monkeypatch):
    chosen = {k: module.SAMPLERS[k] for k in ("ddim", "dpm_solver_pp_2m")}
    monkeypatch.setattr(module, "SAMPLERS", chosen)
    file = tmp_path / "rows.json"
    options = ["--processes", "VP", "LinearFlow", "--data", "broad", "--n", "100", "--nfe", "5", "40"]
    assert run(["grids", *options, "--json", str(file)]) == 0
    rows = json.loads(file.read_text())
    assert {r["process"] for r in rows} == {"VP", "LinearFlow"}
    assert {r["grid"] for r in rows} == {"uniform", "quadratic", "log_snr", "karras", "shifted"}
    # an exact score and 40 evaluations: what is left is the draw of 100 points, whose W₂ scatters by a
    # tenth about that of data against data
    done = [
        r for r in rows if r["nfe"] == 40 and r["sampler"] == "dpm_solver_pp_2m" and r["grid"] == "log_snr"
    ]
    assert all(abs(r["w2"] - r["floor"]) < 0.25 for r in done)
    few = [r for r in rows if r["nfe"] == 5 and r["sampler"] == "ddim" and r["grid"] == "uniform"]
    assert all(r["w2"] > r["floor"] for r in few)
    assert "eight_gaussians" not in capsys.readouterr().out


def test_data_have_unit_variance():
    for name, data in DATA.items():
        variance = data.means.square().mean(0) + data.std**2
        torch.testing.assert_close(variance, torch.ones(2, dtype=torch.float64), msg=name)


def test_every_grid_fits_its_process():
    assert "grids" in names()
    for process, _ in PROCESSES.values():
        for grid in grids(process).values():
            assert grid.times(process, 5)[-1] == 0
