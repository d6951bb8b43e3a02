"""A checkpoint is data: nothing that one holds is executed, and none is fetched from an address."""

import pickle

import pytest
import torch
import yaml


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def trained(program, small):
    assert program("fit", *small).returncode == 0
    (run,) = program.runs()
    return program.artifacts(run)


def poisoned(trained, folder):
    contents = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    path, trace = folder / "poisoned.ckpt", folder / "executed"
    torch.save({**contents, "more": Bomb(trace)}, path)
    with path.open("rb") as file, pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=True)
    return path, trace


@pytest.mark.parametrize("command", ["test", "fit"])
def test_what_a_checkpoint_holds_beside_data_is_not_executed(program, trained, tmp_path, command):
    path, trace = poisoned(trained, tmp_path)
    config = trained / "config/fit.yaml"
    result = program(command, "--config", str(config), "--ckpt_path", str(path), "--trainer.max_epochs", "3")
    assert result.returncode == 2
    assert "holds more than weights and plain data" in result.stderr.splitlines()[-1]
    assert not trace.exists()


@pytest.mark.parametrize("by", ["option", "config"])
def test_an_address_is_refused_before_anything_is_fetched(program, tmp_path, by):
    # nobody listens on port 9 of this machine: a request would say so
    address = "http://somebody:secret@127.0.0.1:9/best.ckpt"
    if by == "option":
        arguments = ["--ckpt_path", address]
    else:
        (tmp_path / "more.yaml").write_text(yaml.safe_dump({"ckpt_path": address}))
        arguments = ["--config", str(tmp_path / "more.yaml")]
    result = program("test", "--model", "ResNet", "--data", "Digits", *arguments)
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert "a checkpoint at an address is not loaded" in line
    assert "secret" not in line
