"""An exported network answers as its run does, without its classes."""

import numpy as np
import pytest
import torch

import integrand
from integrand.cli.main import main
from integrand.datamodules import Digits
from integrand.errors import UsageError
from integrand.exporting import export
from integrand.modules import DeepEquilibrium, NeuralODE, ResNet
from integrand.modules.noise import Dropout
from integrand.solvers import RK4, Dopri5


def test_the_file_answers_as_the_run_does(program):
    words = ["--model.channels", "4", "--model.solver", "Dopri5", "--trainer.max_epochs", "1"]
    result = program("fit", "--data", "Wine", *words)
    assert result.returncode == 0, result.stderr
    result = program("export", "--run", "latest")
    assert result.returncode == 2
    assert "chooses its steps by the input" in result.stderr
    result = program("export", "--run", "latest", "--num-steps", "16", "--out", "net.pt2")
    assert result.returncode == 0, result.stderr
    assert "RK4 with 16 equal steps" in result.stdout
    (run,) = program.runs()
    model, _ = integrand.load(program.artifacts(run) / "checkpoints" / "best.ckpt")
    x = torch.randn(5, 13, generator=torch.Generator().manual_seed(1))
    said = torch.export.load(program.folder / "net.pt2").module()(x)
    with torch.no_grad():
        expected = model.eval()(x).softmax(1)
    # the adaptive solve is off by its tolerance of 1e-3
    np.testing.assert_allclose(said.detach().numpy(), expected.numpy(), atol=1e-2)


@pytest.mark.parametrize("rows", [1, 6])
def test_batch_statistics_are_those_of_the_training(rows, tmp_path):
    torch.manual_seed(0)
    spec = Digits().spec
    for i, model in enumerate(
        (ResNet(spec, channels=4), NeuralODE(spec, channels=4, solver=RK4(num_steps=3)))
    ):
        model.train()(torch.randn(8, *spec.input_shape))
        path = tmp_path / f"{i}.pt2"
        assert export(model, path, "torch") < 1e-5
        x = torch.randn(rows, *spec.input_shape)
        with torch.no_grad():
            said = torch.export.load(path).module()(x)
            torch.testing.assert_close(said, model.eval()(x).softmax(1), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_one_graph_is_refused(tmp_path):
    spec, path = Digits().spec, tmp_path / "x.pt2"
    for model, words in (
        (NeuralODE(spec, channels=4, solver=Dopri5()), "chooses its steps by the input"),
        (ResNet(spec, channels=4, noise=Dropout(samples=4)), "answers by draws"),
        (DeepEquilibrium(spec, channels=4), "cannot be written as one graph"),
    ):
        with pytest.raises(UsageError, match=words):
            export(model, path, "torch")
        assert not path.exists()


def test_onnx_names_the_missing_packages(tmp_path, monkeypatch):
    monkeypatch.setattr("integrand.exporting.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="needs onnx and onnxscript"):
        export(ResNet(Digits().spec, channels=4), tmp_path / "x.onnx", "onnx")


def test_onnx_answers_alike(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    model = NeuralODE(Digits().spec, channels=4, solver=RK4(num_steps=3))
    assert export(model, tmp_path / "x.onnx", "onnx") < 1e-4


def test_a_format_that_is_none_is_refused(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--run", "latest", "--format", "pickle"]) == 2
    assert "Traceback" not in capsys.readouterr().err
