"""Fields and metrics of one's own, as docs/own-model.md has them, through the real program."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from integrand.record import RunRecord

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own-model.md").read_text()
SHORT = ["--trainer.max_epochs", "1"]


def command(start):
    """The arguments of the page's command that begins so."""
    text = PAGE.replace("\\\n", " ")
    (line,) = [row.strip() for row in text.splitlines() if row.startswith(f"    integrand {start}")]
    return shlex.split(line)[1:]


@pytest.fixture
def page(program):
    """The program in a folder with the page's files."""
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL):
        (program.folder / name).write_text(code)
    return program


def test_a_field_trains_and_is_tested(page):
    result = page("fit", *command("fit --model NeuralODE --data Wine --model.field")[1:], *SHORT)
    assert result.returncode == 0, result.stderr
    (run,) = page.runs()
    # stem 13·32+32, head 3·32+3, field 32·8+8 and 8·32+32
    assert run.data.metrics["cost/parameters"] == 448 + 99 + 264 + 288
    assert run.data.metrics["solver/nfe_forward"] > 0
    recorded = yaml.safe_load((page.artifacts(run) / "config" / "fit.yaml").read_text())
    assert recorded["model"]["init_args"]["field"] == {
        "class_path": "my_field.MyField",
        "init_args": {"hidden": 8},
    }
    refused = page("test", "--run", "latest")
    assert refused.returncode == 2
    assert "my_field.MyField, which is not installed" in refused.stderr
    assert page("test", "--run", "latest", "--trust").returncode == 0


def test_metrics_are_recorded_with_their_direction(page):
    result = page("fit", *command("fit --model NeuralODE --data Wine --model.metrics+")[1:], *SHORT)
    assert result.returncode == 0, result.stderr
    (run,) = page.runs()
    for name in ("train/confidence", "best/val_confidence", "final/val_multiclass_f1_score"):
        assert 0 < run.data.metrics[name] < 1, name
    record = RunRecord.read(page.artifacts(run) / "record.json")
    directions = {name: quantity["direction"] for name, quantity in record.quantities.items()}
    assert directions == {"confidence": "neither", "multiclass_f1_score": "larger"}
