"""A solver named on the command line does not inherit the tolerances of the configured one."""

from pathlib import Path

import pytest
import yaml

from integrand.cli.replaced import forget_replaced_solvers

CONFIG = {
    "model": {
        "class_path": "NeuralODE",
        "init_args": {
            "channels": 8,
            "solver": {"class_path": "integrand.solvers.Dopri5", "init_args": {"rtol": 1e-3}},
        },
    }
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.mark.parametrize(
    "option", ["--model.solver", "--model.init_args.solver", "--model.solver.class_path"]
)
def test_other_class_drops_the_options(config, option):
    _, copy, *rest = forget_replaced_solvers(["--config", str(config), option, "Euler"])
    assert rest == [option, "Euler"]
    arguments = yaml.safe_load(Path(copy).read_text())["model"]["init_args"]
    assert arguments == {"channels": 8, "solver": {"class_path": "integrand.solvers.Dopri5"}}
    assert yaml.safe_load(config.read_text()) == CONFIG


@pytest.mark.parametrize(
    "rest",
    [
        ["--model.solver", "Dopri5"],
        ["--model.solver.rtol", "1e-6"],
        ["--model.solver", "solver.yaml"],
        ["--model.noise", "Dropout"],
    ],
)
def test_otherwise_nothing_is_changed(config, rest):
    argv = ["--config", str(config), *rest]
    assert forget_replaced_solvers(argv) == argv


def test_only_files_before_the_option(config):
    argv = ["--model.solver", "Euler", "--config", str(config)]
    assert forget_replaced_solvers(argv) == argv
