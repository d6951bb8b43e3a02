"""`integrand bench samplers`: rows are complete and consistent; how fast anything is is not tested."""

import json

from integrand.benchmarks import samplers
from integrand.cli.bench import names, run


def test_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(samplers, "_repetitions", lambda args: 1)
    monkeypatch.setattr(samplers, "CASES", {k: samplers.CASES[k] for k in ("ddim", "plms", "heun")})
    file = tmp_path / "rows.json"
    assert run(["samplers", "--nets", "tiny", "--batch", "2", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())
    assert {r["reference"] for r in rows} == {"NFE × evaluation", "diffusers"}
    assert {r["nfe"] for r in rows if r["case"] == "ddim"} == {samplers.NFE}
    # Heun's last step is one evaluation: 19 of the 20 allowed, in both
    assert {r["nfe"] for r in rows if r["case"] in ("heun", "diffusers HeunDiscreteScheduler")} == {19}
    assert all(r["ratio"] > 0 for r in rows)
    assert "ddim" in capsys.readouterr().out


def test_it_is_listed():
    assert "samplers" in names()
