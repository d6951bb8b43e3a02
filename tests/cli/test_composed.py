"""A recipe and a model among the arguments become one configuration, wherever they stand."""

from pathlib import Path

import pytest
import yaml

from integrand.cli.line import Line
from integrand.cli.main import main
from integrand.config_files import PACKAGED, resolve_files
from integrand.errors import UsageError


@pytest.fixture
def composed(tmp_path):
    def composed(text):
        line = Line(text.split())
        line.compose()
        argv = line.argv(tmp_path)
        assert argv[0] == "--config"
        return yaml.safe_load(Path(argv[1]).read_text()), argv[2:]

    return composed


@pytest.mark.parametrize(
    "line",
    [
        "--recipe digits --model resnet --model.channels 4",
        "--model resnet --recipe digits --model.channels 4",
        "--model resnet --model.channels 4 --recipe digits",
        "--model.channels 4 --recipe digits --model ResNet",
        "--model.channels 4 --config configs/recipe/digits.yaml --model configs/model/resnet.yaml",
        "--model neural_ode --recipe digits --model.channels 4 --model resnet",
    ],
)
def test_the_place_does_not_matter(composed, line):
    content, rest = composed(line)
    assert content["model"]["class_path"] == "ResNet"
    assert content["model"]["init_args"]["channels"] == 8
    assert content["model"]["init_args"]["blocks"] == 3
    assert rest == ["--model.channels", "4"]


def test_without_a_model_it_is_the_default_or_that_of_another_configuration(composed, tmp_path):
    assert composed("--recipe digits")[0]["model"]["class_path"] == "NeuralODE"
    path = tmp_path / "mine.yaml"
    path.write_text("model: {class_path: their.Net, init_args: {depth: 3}}\n")
    content, rest = composed(f"--recipe digits --config {path}")
    assert content["model"]["class_path"] == "their.Net"
    assert content["model"]["init_args"]["channels"] == 8
    assert rest == ["--config", str(path)]


def test_a_fragment_of_ones_own_is_a_recipe_too(composed, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {init_args: {layout: CIFARStages}}\n")
    content, rest = composed(f"--config {path} --model ResNet")
    assert content == {"model": {"class_path": "ResNet", "init_args": {"blocks": 3, "layout": "CIFARStages"}}}
    assert rest == []


def test_a_model_file_alone_stays_where_it_stands(tmp_path):
    line = Line(["--seed_everything", "1", "--model", "neural-ode"])
    line.compose()
    argv = line.argv(tmp_path)
    assert argv[:3] == ["--seed_everything", "1", "--config"]
    assert yaml.safe_load(Path(argv[3]).read_text())["model"]["class_path"] == "NeuralODE"


@pytest.mark.parametrize(
    ("option", "value", "file"),
    [
        ("--model", "lm-resnet", "model/lm_resnet.yaml"),
        ("--data", "fashion_mini", "data/fashion_mini.yaml"),
        ("--trainer", "gpu", "trainer/gpu.yaml"),
        ("--model", "LMResNet", None),
        ("--model", "their_net.Net", None),
        ("--data.batch_size", "3", None),
    ],
)
def test_bare_names(option, value, file):
    assert resolve_files([option, value]) == [option, value if file is None else str(PACKAGED / file)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--recipe", "--recipe wants a name"),
        ("--recipe digits --recipe fashion_mini", "are two recipes"),
        ("--recipe digitz", "there is no recipe 'digitz' .* did you mean digits"),
        ("--config model/resnet.yaml", "is no configuration of an experiment: it describes the class ResNet"),
        ("--config suite/quickstart.yaml", "is no configuration of an experiment: it is a suite"),
        ("--model recipe/digits.yaml", "is no model.*--recipe"),
        ("--model published/cifar10/resnet_20.yaml", "is no model.*--config"),
    ],
)
def test_misplaced_files(line, says):
    with pytest.raises(UsageError, match=says):
        Line(line.split()).compose()


def test_through_the_parser(capsys, tmp_path, monkeypatch):
    """Data, budget and a group of the recipe, a later solver without the tolerances of the model's, an option."""
    monkeypatch.chdir(tmp_path)
    line = "fit --model.augment 2 --model augmented-neural-ode --recipe digits --model.solver Euler --print_config"
    assert main(line.split()) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["trainer"]["max_epochs"] == 40
    assert config["data"]["init_args"]["batch_size"] == 64
    arguments = config["model"]["init_args"]
    assert (arguments["channels"], arguments["augment"]) == (8, 2)
    assert arguments["solver"]["class_path"] == "integrand.solvers.Euler"
    assert arguments["solver"]["init_args"]["rtol"] is None
