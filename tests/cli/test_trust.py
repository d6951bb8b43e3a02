"""A checkpoint is data: nothing that one holds is executed, and none is fetched from an address."""

import pickle

import pytest
import torch
import yaml

from integrand.errors import UsageError
from integrand.trust import check_trusted


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


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model": {"class_path": "evil.Net"}}, True),
        ({"model": "evil.Net"}, True),
        ({"trainer": {"callbacks": [{"class_path": "evil.C"}]}}, True),
        ({"model": {"init_args": {"make": "evil.run"}}}, True),
        ({"model": {"class_path": "nowhere.Net"}}, True),
        ({"model": {"class_path": "torch.optim.Adam"}, "data": {"class_path": "Digits"}}, False),
        ({"model": {"class_path": "integrand.modules.x.Y"}, "data": {"file": "table.csv"}}, False),
        ({"model": {"class_path": "sklearn.svm.SVC"}}, False),
    ],
)
def test_a_configuration_that_came_along_imports_no_file_of_this_folder(tmp_path, monkeypatch, config, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    if named:
        with pytest.raises(UsageError, match="--trust"):
            check_trusted(config, "x.ckpt")
    else:
        check_trusted(config, "x.ckpt")


def test_trust_is_asked_for_before_anything_is_imported(program, trained, tmp_path):
    contents = torch.load(trained / "checkpoints/best.ckpt", weights_only=True)
    config = yaml.safe_load(contents["integrand"]["config"])
    config["model"]["class_path"] = "evil.Net"
    contents["integrand"]["config"] = yaml.safe_dump(config)
    path = program.folder / "given.ckpt"
    torch.save(contents, path)
    (program.folder / "evil.py").write_text("open('executed', 'w')\nclass Net: pass\n")
    result = program("test", "--ckpt_path", str(path))
    assert result.returncode == 2
    assert "names evil.Net, which is not installed" in result.stderr
    assert not (program.folder / "executed").exists()
    result = program("test", "--ckpt_path", str(path), "--trust")
    assert "not installed" not in result.stderr


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
    line = program.refusal(result)
    assert "a checkpoint at an address is not loaded" in line
    assert "secret" not in line
