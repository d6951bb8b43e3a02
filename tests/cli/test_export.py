"""An exported network answers as its run does, without its classes."""

import numpy as np
import pytest
import torch

import integrand
from integrand.cli.main import main
from integrand.datamodules import Digits, Wine
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


@pytest.fixture
def onnxruntime():
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    return pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("data", [Digits, Wine])
@pytest.mark.parametrize(
    ("family", "options"), [(ResNet, {}), (NeuralODE, {"solver": RK4(num_steps=3)})], ids=["discrete", "ode"]
)
def test_onnx_answers_alike_in_another_runtime(data, family, options, onnxruntime, tmp_path, capfd):
    torch.manual_seed(0)
    model, path = family(data().spec, channels=4, **options), tmp_path / "x.onnx"
    # running statistics away from 0 and 1, which a graph in training mode would not read
    model.train()(2 + 3 * torch.randn(8, *model.spec.input_shape))
    assert export(model, path, "onnx") < 1e-5
    assert capfd.readouterr().err == ""
    session = onnxruntime.InferenceSession(path)
    for rows in (1, 6):
        x = 2 + 3 * torch.randn(rows, *model.spec.input_shape)
        (said,) = session.run(None, {"x": x.numpy()})
        with torch.no_grad():
            expected = model.eval()(x).softmax(1)
        # float32 in another order
        np.testing.assert_allclose(said, expected.numpy(), atol=1e-5)


def test_what_onnx_has_no_operation_for_is_refused_by_its_name(onnxruntime, tmp_path):
    model = ResNet(Wine().spec, channels=4)
    model.net.forward = lambda x: (torch.linalg.eigvals(x[:, :, None] * x[:, None]).real,)
    with pytest.raises(UsageError, match=r"ResNet cannot be written as ONNX: .*linalg_eig") as refused:
        export(model, tmp_path / "x.onnx", "onnx")
    assert "--format torch" in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_format_that_is_none_is_refused(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "--run", "latest", "--format", "pickle"]) == 2
    assert "Traceback" not in capsys.readouterr().err
