"""A solver named on the command line does not inherit the tolerances of the configured one."""

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
        },
    }
}


def forgotten(argv, scratch):
    line = Line(argv)
    line.forget_replaced_solvers()
    return line.argv(scratch)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.mark.parametrize(
    "option", ["--model.solver", "--model.init_args.solver", "--model.solver.class_path"]
)
def test_other_class_drops_the_options(config, option, tmp_path):
    _, copy, *rest = forgotten(["--config", str(config), option, "Euler"], tmp_path)
    assert Path(copy).is_relative_to(tmp_path)
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
