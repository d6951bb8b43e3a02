"""What earlier versions left can be read: records by `compare` and `report`, checkpoints by `test` and `load`.

The files under `recorded_by_earlier/` were written before family and task were parted.
"""

import csv
import json
from pathlib import Path

import pytest
import torch

import integrand
import integrand.errors
from integrand.checkpoints import config_of
from integrand.cli.main import main
from integrand.datamodules import Digits
from integrand.moved import with_current_names
from integrand.record import RunRecord
from integrand.registry import import_package

LEFT = Path(__file__).parent / "recorded_by_earlier"


def recorded(name):
    return json.loads((LEFT / name / "record.json").read_text())


def test_a_record_says_the_task_by_its_present_name():
    assert recorded("resnet-0")["task"] == "image-classification"
    assert RunRecord.read(LEFT / "resnet-0" / "record.json").task == "classification"
    assert RunRecord.read(LEFT / "flow-matching-0" / "record.json").task == "density"


def test_a_record_says_its_evaluation_by_the_present_name():
    named = RunRecord("a", evaluation={"name": "sensitivity", "settings": {"solver": "rk4"}})
    assert RunRecord.from_json(named.to_json()).evaluation == {
        "name": "solver",
        "settings": {"solver": "rk4"},
    }


def test_compare_reads_earlier_records(tmp_path, capsys):
    out = tmp_path / "compared"
    assert main(["compare", "--records", str(LEFT), "--metric", "final/test_acc", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "resnet" in shown
    assert "neural-ode" in shown
    rows = list(csv.DictReader((out / "runs.csv").open()))
    accuracies = {row["run_id"]: float(row["final/test_acc"]) for row in rows if row["group"] == "resnet"}
    expected = [recorded(f"resnet-{seed}") for seed in (0, 1)]
    assert accuracies == {
        r["run_id"]: pytest.approx(r["metrics"]["final/test_acc"], abs=1e-6) for r in expected
    }


def test_report_reads_earlier_records(tmp_path, capsys):
    page = tmp_path / "report"
    assert main(["report", "--records", str(LEFT), "--out", str(page)]) == 0
    html = next(page.glob("*.html")).read_text()
    assert "Neural ODE" in html


@pytest.mark.parametrize(
    ("name", "measured"), [("neural-ode-0", "test/loss"), ("flow-matching-0", "test/nll")]
)
def test_a_loaded_checkpoint_tests_as_it_did(name, measured):
    from lightning.pytorch import Trainer

    model, data = integrand.load(LEFT / name / "best.ckpt")
    assert not model.training
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        inference_mode=not model.needs_grad_at_eval,
    )
    (scores,) = trainer.test(model, datamodule=data, verbose=False)
    # weights are those of then; sums may be taken in another order
    assert scores[measured] == pytest.approx(recorded(name)["metrics"][measured], rel=1e-4)


def test_the_data_of_a_loaded_checkpoint_are_those_it_was_trained_on():
    _, data = integrand.load(LEFT / "neural-ode-0" / "best.ckpt")
    assert isinstance(data, Digits)
    assert data.train_limit == 256


def test_classes_that_have_moved_bear_names_that_exist():
    import_package("integrand.modules")
    for old in ("cifar.CIFARStages", "image_state.ImageState", "reversible_stages.RevNetStages",
                "shake_stages.ShakeStages", "layout.SharedLayout"):  # fmt: skip
        text = with_current_names(f"class_path: integrand.modules.classification.{old}\n")
        module, _, name = text.strip().removeprefix("class_path: ").rpartition(".")
        assert isinstance(getattr(__import__(module, fromlist=[name]), name), type)
    assert (
        with_current_names("class_path: integrand.modules.NeuralODE")
        == "class_path: integrand.modules.NeuralODE"
    )


def test_a_checkpoint_from_before_heads_could_be_chosen_has_the_head_of_then():
    contents = torch.load(LEFT / "neural-ode-0" / "best.ckpt", weights_only=True)
    left = contents["integrand"]
    assert "head" not in left["config"]
    assert "\n    head: group\n" in config_of(contents, "best.ckpt")
    # vectors had no head to choose, a layout has its own, and what says its head keeps it
    of_vectors = {**left, "spec": {**left["spec"], "input_shape": (4,)}}
    assert config_of({"integrand": of_vectors}, "best.ckpt") == left["config"]
    for old, new in (("downsample: null", "downsample: null\n    head: null"),
                     ("layout: null", "layout:\n      class_path: Mine")):  # fmt: skip
        config = left["config"].replace(old, new)
        assert config_of({"integrand": {**left, "config": config}}, "best.ckpt") == config


def test_load_refuses_what_is_no_checkpoint(tmp_path):
    with pytest.raises(integrand.errors.UsageError, match="no checkpoint"):
        integrand.load(tmp_path / "none.ckpt")
    (tmp_path / "text.ckpt").write_text("words")
    with pytest.raises(integrand.errors.UsageError, match="cannot be read as a checkpoint"):
        integrand.load(tmp_path / "text.ckpt")
    contents = torch.load(LEFT / "neural-ode-0" / "best.ckpt", weights_only=True)
    contents["state_dict"].popitem()
    torch.save(contents, tmp_path / "short.ckpt")
    with pytest.raises(integrand.errors.UsageError, match="do not fit its configuration"):
        integrand.load(tmp_path / "short.ckpt")
