"""What a test takes over from the recorded configuration of a fit, and what it does not."""

import pytest
import torch
import yaml

from integrand.checkpoints import KEY
from integrand.cli import summary
from integrand.cli.arguments import RecordedRun, expand_checkpoint, expand_run
from integrand.cli.explain import missing_package
from integrand.cli.line import Line
from integrand.cli.summary import Ending

CONFIG = {
    "trainer": {"max_epochs": 3, "precision": "bf16-mixed", "profiler": "simple", "overfit_batches": 2},
    "model": {"class_path": "ResNet"},
}


def trainer_of(line):
    return line.words[0].content["trainer"]


def test_what_was_set_for_the_fit_stays_there(tmp_path):
    file = tmp_path / "fit.yaml"
    file.write_text(yaml.safe_dump(CONFIG))
    run = RecordedRun("a" * 32, file, None, "integrand")
    tested, resumed = Line(["--run", "a"]), Line(["--resume", "a"])
    expand_run("test", tested, lambda *_: run)
    expand_run("fit", resumed, lambda *_: run)
    assert trainer_of(tested) == {"max_epochs": 3}
    assert trainer_of(resumed) == CONFIG["trainer"]


@pytest.mark.parametrize(("command", "key"), [("test", "run_id"), ("fit", "run_id")])
def test_the_tracker_is_found_among_several_loggers(tmp_path, command, key):
    loggers = [
        {"class_path": "integrand.tracking.MLflowTracker", "init_args": {"run_id": None}},
        {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "x"}},
    ]
    file = tmp_path / "fit.yaml"
    file.write_text(yaml.safe_dump({"trainer": {"logger": loggers}}))
    line = Line(["--resume" if command == "fit" else "--run", "a"])
    expand_run(command, line, lambda *_: RecordedRun("a" * 32, file, None, "mine"))
    mine, other = trainer_of(line)["logger"]
    assert mine["init_args"] == {key: "a" * 32, "experiment": "mine"}
    assert other == loggers[1]
    assert not any(word.option.startswith("--trainer.logger") for word in line.words)


@pytest.mark.parametrize(
    ("text", "package"),
    [
        (
            "Neither `tensorboard` nor `tensorboardX` is available. Try `pip install`ing either.\nx",
            "tensorboard",
        ),
        (
            "Requirement 'wandb>=0.12.10' not met. HINT: Try running `pip install -U 'wandb>=0.12.10'`",
            "wandb>=0.12.10",
        ),
        ("No module named 'comet_ml'", "comet_ml"),
    ],
)
def test_a_missing_package_is_named(text, package):
    error = missing_package(ModuleNotFoundError(text))
    assert error.exit_code == 2
    assert str(error).startswith(f"{package} is not installed: ")
    assert f"pip install '{package}'" in error.remedy
    assert "\n" not in str(error)


def test_nor_does_it_come_out_of_a_checkpoint(tmp_path):
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": {}, KEY: {"config": yaml.safe_dump(CONFIG)}}, path)
    line = Line(["--ckpt_path", str(path), "--trainer.precision", "16-mixed"])
    expand_checkpoint("test", line)
    assert trainer_of(line) == {"max_epochs": 3}
    assert line.has("--trainer.precision")


class Fitted:
    """As much of a trainer and its tracker as the summary looks at."""

    is_global_zero, current_epoch, run_id, save_dir, tracking_uri = True, 3, "abcdef0123", None, "x"

    def __init__(self, ending):
        self.callbacks = [ending]
        self.record = type("Record", (), {"run_id": "abcdef0123"})


def test_a_fit_that_had_nothing_to_do_says_so(monkeypatch, capsys):
    monkeypatch.setattr(summary, "tracker_of", lambda trainer: trainer)
    monkeypatch.setattr(summary, "summary", lambda *_: "")
    ending = Ending()
    summary.print_summary(Fitted(ending))
    said = (
        "nothing was left to train: 3 epochs are done; integrand fit --resume abcdef --trainer.max_epochs 13"
    )
    assert said in capsys.readouterr().out
    ending.on_train_epoch_start(None, None)
    summary.print_summary(Fitted(ending))
    assert "nothing was left" not in capsys.readouterr().out
