"""Every mistyped name is one line with a remedy and exit code 2."""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch
import yaml

from integrand import __main__ as program
from integrand.cli.main import main

INTEGRAND = str(Path(sysconfig.get_path("scripts")) / "integrand")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("fitt", "unknown command 'fitt', did you mean fit?"),
        ("fit --model NeuralODEE", "model: there is no class 'NeuralODEE', did you mean NeuralODE?"),
        ("fit --data FashionMiny", "data: there is no class 'FashionMiny', did you mean FashionMini?"),
        ("fit --model.chanels 3", "model: NeuralODE takes no option 'chanels', did you mean channels?"),
        ("fit --model.channels x", "model.channels: expected int, got 'x'"),
        ("fit --modle.channels 3", "unknown option --modle.channels, did you mean model.channels?"),
        ("fit --trainer.max_epoch 1", "unknown option --trainer.max_epoch, did you mean trainer.max_epochs?"),
        ("fit --trainer.max_epochs a", "trainer.max_epochs: expected int, got 'a'"),
        (
            "fit --model.solver TorchDiffEq --model.solver.method dopri55",
            "'dopri55' is not a choice, did you mean dopri5?",
        ),
        ("fit --model.solver TorchDiffEqq", "no class 'TorchDiffEqq', did you mean TorchDiffEq?"),
        ("fit --model.solver.stepsize 1", "Dopri5 takes no option 'stepsize', did you mean step_size?"),
        ("fit --model ResNet --model.solver.method rk4", "model: ResNet takes no option 'solver'"),
        ("fit --model.optimizer SGDD", "model.optimizer: there is no class 'SGDD', did you mean SGD?"),
        ("fit --model.optimizer SGD --model.optimizer.lrr 3", "SGD takes no option 'lrr', did you mean lr?"),
        ("fit --data.batchsize 3", "data: FashionMini takes no option 'batchsize', did you mean batch_size?"),
        (
            "fit --config published/cifar10/resnet_21.yaml",
            "did you mean published/cifar10/resnet_",
        ),
        (
            "fit --recipe dgits --model resnet",
            "there is no recipe 'dgits' here or in the package → did you mean digits?",
        ),
        (
            "fit --recipe model/resnet.yaml",
            "is no recipe: it describes the class ResNet → give it with --model",
        ),
        (
            "fit --recipe digits --model diffusion_vp",
            "DiffusionModel takes no option 'channels', which the recipe digits sets → take a recipe that is for such",
        ),
        (
            "fit --config configs/experiment/fashion_mini/resnet.yaml",
            "resnet.yaml is gone → use --recipe fashion_mini --model resnet",
        ),
        ("fit --foo 1", "unknown option --foo"),
        (
            "fit --recipe points --model resnet",
            "ResNet takes no option 'backbone.init_args.hidden', which the recipe points",
        ),
        ("fit --recip digits", "unknown option --recip, did you mean recipe?"),
        ("fit --model.spec 1", "--model.spec cannot be set: the data set publishes its spec"),
        ("fit --trainer.callbacks+=EarlyStoping", "no class 'EarlyStoping', did you mean EarlyStopping?"),
        (
            "fit --model.solver TorchDiffEq --model.solver.method rk4 --model.solver.rtol 1e-3 --model.solver.num_steps 2",
            "rk4 does not take rtol",
        ),
        (
            "fit --model.solver TorchDiffEq --model.solver.method dopri5 --model.solver.num_steps 2",
            "dopri5 does not take num_steps",
        ),
        ("fit --model.channels 0", "channels must be at least 1, got 0"),
        (
            "fit --model HeavyBallNeuralODE --model.gamma_init 2",
            "gamma_init must lie strictly between 0 and 1",
        ),
        (
            "fit --trainer.accelerator cpu --trainer.strategy dpp --trainer.devices 2",
            "there is no strategy 'dpp', did you mean ddp?",
        ),
        ("fit --trainer.strategy dp", "there is no strategy 'dp', did you mean ddp?"),
        ("fit --trainer.strategy fsdp", "there is no strategy 'fsdp', did you mean fsdp2?"),
        ("fit --trainer.accelerator cpu --trainer.strategy fsdp_cpu_offload", "requires a GPU"),
        (
            "fit --model ResNet --model.layout CIFARStages --trainer.accelerator cpu --trainer.strategy ddp "
            "--trainer.devices 2 --trainer.sync_batchnorm true",
            "PyTorch synchronises batch norm on GPUs only",
        ),
        (
            "fit --model ResNet --model.head group --trainer.accelerator cpu --trainer.strategy ddp "
            "--trainer.devices 2 --trainer.sync_batchnorm true",
            "this model has no batch norm to synchronise",
        ),
        ("fit --run x", "integrand fit takes no --run → use --resume ID"),
        ("test --resume x", "integrand test takes no --resume → use --run ID"),
        ("test --ckpt_path best", "--ckpt_path best means nothing in a new process"),
        ("families --group contnuous", "did you mean continuous?"),
        ("families --jsn", "unknown option --jsn, did you mean --json?"),
    ],
)
def test_one_line_with_a_remedy(arguments, expected, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    captured = capsys.readouterr()
    (line,) = [row for row in captured.err.splitlines() if row.startswith("integrand: error:")]
    assert expected in line
    assert "→" in line
    assert "usage:" not in captured.err
    assert not list(tmp_path.iterdir()), "nothing may be recorded for a command that was never understood"


OWN = """
from torch import nn
from torchmetrics import Metric


class OwnField(nn.Module):
    def __init__(self, channels: int, width: int = 4):
        super().__init__()


class Scored(Metric):
    pass


class Nothing:
    pass
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--model.field own_clases.OwnField", "model.field: there is no module 'own_clases'"),
        ("--model.field own_classes.OwnFeld", "own_classes has no 'OwnFeld', did you mean OwnField?"),
        ("--model.field own_classes.Nothing", "model.field: own_classes.Nothing is no Module"),
        (
            "--model.field own_classes.OwnField --model.field.widht 2",
            "OwnField takes no option 'widht', did you",
        ),
        (
            "--model.field own_classes.OwnField --model.field.width eight",
            "model.field.width: expected int, got 'eight'",
        ),
        ("--model.field broken.Field", "model.field: 'broken.Field' cannot be used: "),
        ("--model.metrics+ own_classes.Scord", "own_classes has no 'Scord', did you mean Scored?"),
        ("--model.metrics+ own_classes.Nothing", "model.metrics: own_classes.Nothing is no Metric"),
        (
            "--model.metrics+ torchmetrics.classification.MulticlassF1Score",
            "model.metrics: MulticlassF1Score wants num_classes",
        ),
        (
            "--model.metrics+ torchmetrics.R2Score --model.metric_directions.r2_score up",
            "'up' is not a choice",
        ),
        ("--model.metrics+ torchmetrics.MeanAbsoluteError", "does not take predictions of shape (3, 3)"),
        ("--model own_clases.Net", "model: there is no module 'own_clases'"),
        ("--model own_classes.Nothing", "model: own_classes.Nothing is no LightningModule"),
        ("--data own_classes.Nothing", "data: own_classes.Nothing is no LightningDataModule"),
        ("--trainer.logger own_classes.Nothing", "trainer.logger: own_classes.Nothing is no Logger"),
        (
            "--trainer.logger CSVLoger",
            "trainer.logger: there is no class 'CSVLoger', did you mean CSVLogger?",
        ),
        ("--trainer.callbacks+ own_classes.Nothing", "trainer.callbacks: own_classes.Nothing is no Callback"),
        ("--model.optimizer own_classes.Nothing", "model.optimizer: own_classes.Nothing is no Optimizer"),
        ("--model.solver own_classes.Nothing", "model.solver: own_classes.Nothing is no ODESolver"),
        ("--model HamiltonianNet --data Digits --model.field own_classes.OwnField", "layers of its own"),
    ],
)
def test_a_mistake_in_what_is_ones_own_is_one_line(options, expected, capsys, monkeypatch, tmp_path):
    (tmp_path / "own_classes.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("class Field(:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["fit", "--model", "NeuralODE", "--data", "Wine", *options.split()]
    assert main(words) == 2
    captured = capsys.readouterr()
    (line,) = [row for row in captured.err.splitlines() if row.startswith("integrand: error:")]
    assert expected in line
    assert "→" in line
    for word in ("Traceback", "jsonargparse", "Parser key", "Namespace("):
        assert word not in captured.err
    assert not (tmp_path / "mlflow.db").exists(), "nothing may be recorded"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("test --run 3f9a56", "no run '3f9a56'"),
        ("predict --run nosuch", "no run 'nosuch'"),
        ("fit --resume nosuch", "no run 'nosuch'"),
        ("evaluate --run nosuch --with calibration", "no run 'nosuch'"),
        ("promote --run nosuch --name x", "no run 'nosuch'"),
        ("compare --experiment nosuch", "there is no tracking store"),
        ("report --experiment nosuch", "there is no tracking store"),
        ("runs --experiment nosuch", "there is no tracking store"),
        ("evaluate --experiment nosuch --with ood", "there is no tracking store"),
        ("fit --data nothing/here.csv", "there is no such file or folder"),
        ("fit --model NeuralODE --data CSVTable --data.path tabel.csv", "tabel.csv is no file"),
        ("fit --model NeuralODE --data CSVTable --data.path table.csv --data.target prize", "mean price?"),
        ("fit --model ResNet --data ImageFolder --data.path nowhere/", "nowhere/ is not there"),
    ],
)
def test_a_wrong_run_experiment_or_file_is_one_line_and_leaves_nothing(
    arguments, expected, capsys, monkeypatch, tmp_path
):
    (tmp_path / "table.csv").write_text("a,price\n1,2\n3,4\n")
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) in (1, 2)
    captured = capsys.readouterr()
    (line,) = [row for row in captured.err.splitlines() if row.startswith("integrand: error:")]
    assert expected in line
    assert "→" in line
    for word in ("Traceback", "jsonargparse", "usage:"):
        assert word not in captured.err
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_more_devices_than_there_are(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--trainer.accelerator", "gpu", "--trainer.devices", "4"]) == 2
    assert "integrand doctor lists the devices" in capsys.readouterr().err


def test_wrong_key_in_a_config_file(capsys, monkeypatch, tmp_path):
    (tmp_path / "wrong.yaml").write_text("trainer: {max_epoch: 3}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "wrong.yaml"]) == 2
    assert "unknown key 'trainer.max_epoch' in the configuration, did you mean" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["model: [", "- a list", "\x00"])
def test_config_file_that_is_none(text, capsys, monkeypatch, tmp_path):
    (tmp_path / "broken.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "broken.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("integrand: error: broken.yaml is not")


def test_spec_in_a_config_file_is_refused(capsys, monkeypatch, tmp_path):
    (tmp_path / "lie.yaml").write_text("model: {class_path: ResNet, init_args: {spec: {name: x}}}\n")
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "lie.yaml"]) == 2
    assert "integrand: error:" in capsys.readouterr().err


def test_no_run_to_go_on_with(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["test", "--run", "latest"]) == 1
    assert "→" in capsys.readouterr().err


def test_families_as_json(capsys):
    assert main(["families", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    (row,) = [r for r in rows if r["name"] == "neural-ode"]
    assert row["class"] == "NeuralODE"
    assert row["group"] == "continuous"
    everything = ["image", "vector", "series"]
    assert row["tasks"] == {
        "classification": everything,
        "regression": everything,
        "forecasting": ["series"],
    }
    assert row["properties"]["uses_solver"] is True
    assert "Chen" in row["reference"]


def test_families_as_text_speak_of_series(capsys):
    assert main(["families", "--group", "series"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("series: classification of series; regression of series; forecasting of series")
    assert "ODERNN " in out


def test_doctor_as_json(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    code = main(["doctor", "--json", "--no-verify"])
    rows = json.loads(capsys.readouterr().out)
    by_name = {row["name"]: row for row in rows}
    assert by_name["torch"]["state"] == "ok"
    assert by_name["tracking store"]["state"] == "ok"
    assert code == int(any(row["state"] == "fail" for row in rows))
    assert all(row["remedy"] for row in rows if row["state"] == "fail")


def test_third_party_family_by_class_path(tmp_path):
    """A family in another package needs no change here."""
    (tmp_path / "theirs.py").write_text(
        "from integrand.modules import ResNet\n"
        "class TheirNet(ResNet):\n"
        '    """Their net.\n\n    Args:\n        spec: Data.\n        **kwargs: See ResNet.\n    """\n'
        '    family = "their-net"\n'
    )
    result = subprocess.run(
        [
            INTEGRAND,
            "fit",
            "--model",
            "theirs.TheirNet",
            "--data",
            "Digits",
            "--print_config",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert yaml.safe_load(result.stdout)["model"]["class_path"] == "theirs.TheirNet"


class Interrupted:
    def find_spec(self, name, path, target=None):
        if name == "integrand.cli.main":
            raise KeyboardInterrupt


def test_ctrl_c_while_the_program_is_imported(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "integrand.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])
    assert program.main() == 130
    assert capsys.readouterr().err == "interrupted\n"
