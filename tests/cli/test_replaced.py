"""A class named in the place of another starts from its own defaults."""

from copy import deepcopy as copy_of
from pathlib import Path

import pytest
import yaml

from integrand.cli.line import Line

CONFIG = {
    "model": {
        "class_path": "NeuralODE",
        "init_args": {
            "channels": 8,
            "solver": {"class_path": "integrand.solvers.Dopri5", "init_args": {"rtol": 1e-3}},
            "optimizer": {"class_path": "Adam", "init_args": {"weight_decay": 0.1}},
        },
    },
    "data": {"class_path": "Digits", "init_args": {"batch_size": 7}},
}


def forgotten(argv, scratch):
    line = Line(argv)
    line.compose()
    line.forget_replaced_classes()
    return line.argv(scratch)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.mark.parametrize(
    ("option", "value", "forgot"),
    [
        ("--model.solver", "Euler", "solver"),
        ("--model.init_args.solver", "Euler", "solver"),
        ("--model.solver.class_path", "Euler", "solver"),
        ("--model.solver", "{class_path: Euler, init_args: {num_steps: 2}}", "solver"),
        ("--model.solver", "own.yaml", "solver"),
        ("--model.optimizer", "torch.optim.SGD", "optimizer"),
        ("--config", "other.yaml", "optimizer"),
        ("--config", "short.yaml", "optimizer"),
        ("--data", "Wine", "data"),
        ("--model", "ResNet", "model"),
    ],
)
def test_other_class_drops_the_options(config, option, value, forgot, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("class_path: Euler")
    Path("other.yaml").write_text("model: {init_args: {optimizer: {class_path: SGD}}}")
    Path("short.yaml").write_text("model: {class_path: NeuralODE, init_args: {optimizer: SGD}}")
    words = ["--config", str(config), option, value]
    _, copy, *rest = forgotten(words, tmp_path)
    assert Path(copy).is_relative_to(tmp_path)
    assert rest == words[2:]
    expected = copy_of(CONFIG)
    node = expected[forgot] if forgot in expected else expected["model"]["init_args"][forgot]
    del node["init_args"]
    assert yaml.safe_load(Path(copy).read_text()) == expected
    assert yaml.safe_load(config.read_text()) == CONFIG


def test_a_recipe_speaks_of_whichever_data_set_is_named_with_it(tmp_path):
    recipe = {"data": {"class_path": "Digits", "init_args": {"batch_size": 7}}, "model": {"init_args": {}}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    words = ["--recipe", str(tmp_path / "recipe.yaml"), "--model", "ResNet", "--data", "Wine"]
    _, composed, *_ = forgotten(words, tmp_path)
    assert yaml.safe_load(Path(composed).read_text())["data"] == recipe["data"]


def test_the_new_class_has_its_own_defaults(program, config):
    other = program.folder / "b.yaml"
    other.write_text("model: {init_args: {solver: {class_path: RK4, init_args: {num_steps: 4}}}}")
    words = ["--config", str(config), "--config", str(other), "--model.optimizer", "SGD", "--data", "Wine"]
    result = program("fit", *words, "--print_config")
    assert result.returncode == 0, result.stderr
    resolved = yaml.safe_load(result.stdout)
    arguments = resolved["model"]["init_args"]
    assert arguments["channels"] == 8
    assert arguments["solver"]["init_args"]["num_steps"] == 4
    assert arguments["solver"]["init_args"]["rtol"] is None
    assert arguments["optimizer"]["init_args"]["weight_decay"] == 0
    assert resolved["data"]["init_args"]["batch_size"] == 32  # Wine's own


@pytest.mark.parametrize(
    "rest",
    [
        ["--model.solver", "Dopri5"],
        ["--model.solver.rtol", "1e-6"],
        ["--model.solver", "solver.yaml"],
        ["--model.solver", "{class_path: Dopri5, init_args: {rtol: 1}}"],
        ["--model.solver", "{class_path: ["],
        ["--model.optimizer", "torch.optim.Adam"],
        ["--data", "Digits"],
        ["--model.noise", "Dropout"],
    ],
)
def test_otherwise_nothing_is_changed(config, rest, tmp_path):
    argv = ["--config", str(config), *rest]
    assert forgotten(argv, tmp_path) == argv


def test_only_files_before_the_option(config, tmp_path):
    argv = ["--model.solver", "Euler", "--config", str(config)]
    assert forgotten(argv, tmp_path) == argv


@pytest.mark.parametrize("fails", [False, True])
def test_no_file_is_left_behind(fitted, tmp_path, fails):
    """Neither the configuration of the checkpoint nor a copy without the solver's options, even on error."""
    program, run, _ = fitted
    checkpoint = program.artifacts(run) / "checkpoints" / "best.ckpt"
    options = ["--model.solver", "Euler", "--model.solver.num_steps", "no" if fails else "2"]
    result = program("test", "--ckpt_path", str(checkpoint), *options, env={"TMPDIR": str(tmp_path)})
    assert (result.returncode != 0) == fails, result.stderr
    assert list(tmp_path.glob("integrand-*")) == []  # torch keeps a cache folder of its own
