"""A promoted run answers from MLflow's registry as it does itself."""

import subprocess
import sys

import numpy as np
import torch

import integrand
from integrand.cli.main import main

READ = """
import mlflow, numpy as np, sys
mlflow.set_tracking_uri(sys.argv[1])
served = mlflow.pyfunc.load_model("models:/wine@champion")
example = served.input_example
np.save("said.npy", served.predict(example)); np.save("given.npy", example)
print(served.metadata.signature)
"""


def test_the_registered_model_says_what_the_run_says(program):
    words = ["--model.channels", "4", "--model.solver", "RK4", "--model.solver.num_steps", "2"]
    result = program("fit", "--data", "Wine", *words, "--trainer.max_epochs", "1")
    assert result.returncode == 0, result.stderr
    result = program("promote", "--run", "latest", "--name", "wine", "--alias", "champion")
    assert result.returncode == 0, result.stderr
    assert "version 1 of wine, champion" in result.stdout
    assert "mlflow models serve -m models:/wine@champion --env-manager local" in result.stdout
    uri = f"sqlite:///{program.folder}/mlflow.db"
    read = subprocess.run(
        [sys.executable, "-c", READ, uri], cwd=program.folder, capture_output=True, text=True, check=False
    )
    assert read.returncode == 0, read.stderr
    assert "Tensor('float32', (-1, 13))" in read.stdout
    given, said = (np.load(program.folder / f"{name}.npy") for name in ("given", "said"))
    assert len(given) == 3
    assert np.abs(given).sum() > 0
    (run,) = program.runs()
    model, _ = integrand.load(program.artifacts(run) / "checkpoints" / "best.ckpt")
    with torch.no_grad():
        assert np.array_equal(model(torch.from_numpy(given)).softmax(1).numpy(), said)
    requirements = (program.artifacts(run) / "model" / "requirements.txt").read_text()
    assert f"torch=={torch.__version__}" in requirements
    assert run.info.status == "FINISHED"


def test_wrong_names_are_refused(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["promote", "--run", "latest", "--name", "a/b"]) == 2
    assert "'a/b' is no name of a registered model" in capsys.readouterr().err
    assert main(["promote", "--run", "latest"]) == 2
    assert "required: --name" in capsys.readouterr().err
