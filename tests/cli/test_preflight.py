"""What is refused before the heavy imports, and the help that needs none of them."""

import subprocess
import sys

import pytest
import yaml

import integrand.datamodules
import integrand.modules
from integrand.cli import preflight
from integrand.cli.main import main
from integrand.cli.short_help import groups
from integrand.errors import TrackingError, UsageError
from integrand.tracking.store.glance import check_run
from integrand.tracking.store.runs import find_run

_LIGHT = """
import sys
from integrand.cli.main import main
codes = [main(line.split()) for line in sys.argv[1:]]
heavy = sorted({"torch", "lightning", "mlflow", "pandas", "matplotlib"} & set(sys.modules))
print(codes, heavy)
"""


def test_mistakes_and_help_are_answered_without_heavy_imports(tmp_path):
    lines = ["fit --model NeuralODEE", "fit --recipe digits --model NeuralODEE", "fit --data Digts"]
    lines += ["test --run zzz", "sample --run zzz", "fit --resume zzz", "fit --help", "test -h"]
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT, *lines], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[2, 2, 2, 1, 1, 1, 0, 0] []"
    assert len(done.stderr.splitlines()) == 6
    assert not (tmp_path / "mlflow.db").exists()


def test_names_read_from_the_sources_are_those_of_the_classes():
    families = {family.__name__ for family in integrand.modules.families()}
    inside = {f.__name__ for f in integrand.modules.families() if f.__module__.startswith("integrand.")}
    assert inside == set(preflight.offered("model"))
    assert inside <= families & preflight.classes("modules")
    assert set(preflight.offered("data")) <= preflight.classes("datamodules")
    for name in integrand.datamodules.load_all():
        preflight.check_class("data", name)


@pytest.mark.parametrize("name", ["", "my_package.Net", "net.yaml", "resnet"])
def test_what_other_packages_or_files_may_have_is_left_alone(name):
    preflight.check_class("model", name)


def test_a_folder_that_is_called_like_a_class_is_no_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no class 'Shapes'"):
        preflight.check_class("data", "Shapes")
    (tmp_path / "Shapes").mkdir()
    preflight.check_class("data", "Shapes")


@pytest.fixture
def store(tmp_path, fresh_database):
    """A store with a run, a deleted one and one in a deleted experiment, and its address."""
    from mlflow import MlflowClient

    path = tmp_path / "own 1.db"
    path.write_bytes(fresh_database.read_bytes())
    client = MlflowClient(f"sqlite:///{path}")
    here, gone = (client.create_experiment(name) for name in ("here", "gone"))
    runs = [client.create_run(e, run_name=n) for e, n in ((here, "kept"), (here, "deleted"), (gone, "lost"))]
    client.delete_run(runs[1].info.run_id)
    client.delete_experiment(gone)
    return f"sqlite:///{path}", [run.info.run_id for run in runs]


def outcome(look, which, uri):
    try:
        return bool(look(which, uri)) or True
    except TrackingError as error:
        return str(error)


def test_the_glance_says_what_the_search_would_say(store):
    uri, (kept, deleted, lost) = store
    for which in (
        kept,
        kept[:6],
        "kept",
        "latest",
        deleted,
        "deleted",
        lost,
        "lost",
        "kep",
        "%",
        "KEPT",
        "'",
    ):
        assert outcome(check_run, which, uri) == outcome(find_run, which, uri), which
    assert "newest runs" in outcome(check_run, "zzz", uri)


def test_other_stores_and_files_that_are_none_are_left_to_the_search(tmp_path):
    (tmp_path / "x.db").write_text("no database")
    check_run("zzz", f"sqlite:///{tmp_path}/x.db")
    check_run("zzz", "http://127.0.0.1:9")


@pytest.mark.parametrize("command", ["fit", "test"])
def test_the_short_help_names_options_that_are_accepted(program, command):
    options = [option for _, listed in groups(command) for option in listed if option.example]
    words = [word for option in options for word in (f"--{option.name}", option.example)]
    done = program(command, *words, "--print_config")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["model"]["class_path"].endswith("NeuralODE")
    assert done.stderr == ""


def test_help_is_short_first_and_whole_when_asked(program, capsys):
    assert main(["fit", "--help"]) == 0
    short = capsys.readouterr().out
    assert "--resume [ID]" in short
    assert max(map(len, short.splitlines())) <= 110
    assert len(short.splitlines()) < 40
    everything = program("fit", "--help-all")
    assert "--trainer.limit_train_batches" in everything.stdout
