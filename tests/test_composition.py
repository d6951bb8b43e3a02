"""A recipe and a model together, and the names under which their files are found."""

from pathlib import Path

import pytest
import yaml

from integrand.config_files import find, include, moved, packaged, read
from integrand.errors import UsageError
from integrand.recipes import Experiment, compose, find_model, merged

RECIPE = {
    "trainer": {"max_epochs": 4},
    "data": {"class_path": "Digits", "init_args": {"batch_size": 64}},
    "model": {"init_args": {"channels": 16, "optimizer": {"class_path": "Adam", "init_args": {"lr": 0.1}}}},
    "groups": [
        {
            "models": ["resnet", "revnet"],
            "trainer": {"max_epochs": 2},
            "data": {"init_args": {"train_limit": 9}},
            "model": {"init_args": {"channels": 8}},
        },
        {"models": ["no_block", "net.yaml", "their.Net"], "model": {"init_args": {"channels": 4}}},
    ],
}


@pytest.fixture
def write(tmp_path):
    """A file with a content, by name."""

    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    return write


def test_a_recipe_with_a_model(write):
    whole = compose(write("r.yaml", RECIPE), find_model("neural_ode"))
    assert list(whole) == ["trainer", "data", "model"]
    assert (whole["trainer"], whole["data"]) == (RECIPE["trainer"], RECIPE["data"])
    assert whole["model"] == {
        "class_path": "NeuralODE",
        "init_args": {
            "solver": {"class_path": "Dopri5", "init_args": {"rtol": 1e-3, "atol": 1e-3}},
            **RECIPE["model"]["init_args"],
        },
    }


def test_a_group_changes_what_it_names_for_its_models_and_the_rest_stays(write):
    whole = compose(write("r.yaml", RECIPE), find_model("resnet"))
    assert whole["trainer"] == {"max_epochs": 2}
    assert whole["data"] == {"class_path": "Digits", "init_args": {"batch_size": 64, "train_limit": 9}}
    optimizer = RECIPE["model"]["init_args"]["optimizer"]
    arguments = {"blocks": 3, "channels": 8, "optimizer": optimizer}
    assert whole["model"] == {"class_path": "ResNet", "init_args": arguments}


def test_what_a_recipe_sets_holds_over_the_model_file(write):
    model = write("net.yaml", {"class_path": "Net", "init_args": {"channels": 99, "blocks": 7}})
    recipe = write("r.yaml", {key: value for key, value in RECIPE.items() if key != "groups"})
    assert compose(recipe, str(model))["model"]["init_args"] == {"blocks": 7, **RECIPE["model"]["init_args"]}


@pytest.mark.parametrize("model", ["net.yaml", "their.Net"])
def test_models_of_ones_own_in_groups(write, model):
    write("net.yaml", {"class_path": "Net"})
    recipe = write("r.yaml", RECIPE)
    content = compose(recipe, find_model(model, recipe.parent))
    assert content["model"]["init_args"]["channels"] == 4


def test_another_class_does_not_inherit_arguments():
    below = {"class_path": "Adam", "init_args": {"betas": 1}}
    other = {"class_path": "SGD", "init_args": {"lr": 1}}
    assert merged(below, other) == other
    assert merged(below, {"init_args": {"lr": 1}})["init_args"] == {"betas": 1, "lr": 1}
    assert merged(below, {"class_path": "Adam", "init_args": {"lr": 1}})["init_args"] == {"betas": 1, "lr": 1}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"model": {"init_args": {}}}, "is a recipe without data → name a data set"),
        ({"class_path": "ResNet"}, "is no recipe: it describes the class ResNet → give it with --model"),
        ({"recipe": "digits", "models": ["resnet"]}, "is no recipe: it is a suite → integrand suite run"),
        (
            {"data": "Digits", "model": {"class_path": "ResNet"}},
            "names its model and is no recipe → give it with",
        ),
        ({**RECIPE, "groups": {}}, "groups are not a list"),
        ({**RECIPE, "groups": [{"model": {}}]}, "groups are not a list"),
        ({**RECIPE, "groups": [{"models": ["resnett"]}]}, "'resnett', .* did you mean resnet"),
        ({**RECIPE, "groups": [{"models": ["resnet"], "modle": {}}]}, "no key 'modle', did you mean model"),
        ("- a", "is not a mapping of sections"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_no_recipe(write, content, says):
    with pytest.raises(UsageError, match=says):
        compose(write("r.yaml", content), "ResNet")


@pytest.mark.parametrize(
    ("content", "says"),
    [(RECIPE, "is no model.*--recipe"), ({"model": {"class_path": "A"}}, "is no model.*--config")],
)
def test_what_is_no_model(write, content, says):
    with pytest.raises(UsageError, match=says):
        compose(write("r.yaml", RECIPE), str(write("m.yaml", content)))


def test_names_of_experiments():
    digits = find("digits", "recipe").resolve()
    assert Experiment(digits, find_model("lm-resnet")).name == "digits/lm_resnet"
    assert Experiment(digits, "their.package.Net").name == "digits/Net"
    assert Experiment(find("published/cifar10/resnet_20").resolve()).name == "cifar10/resnet_20"
    assert Experiment(Path("/some/where/mine.yaml")).name == "where/mine"


@pytest.mark.parametrize(
    "name",
    [
        "fashion_mini",
        "fashion-mini",
        "FashionMini",
        "recipe/fashion_mini.yaml",
        "configs/recipe/fashion_mini.yaml",
    ],
)
def test_packaged_files_by_any_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find(name, "recipe").name == "fashion_mini.yaml"


def test_ones_own_file_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "digits.yaml").write_text("")
    assert find("recipe/digits.yaml", "recipe") == Path("recipe/digits.yaml")
    assert find("digits.yaml", "recipe", tmp_path / "recipe") == tmp_path / "recipe" / "digits.yaml"
    assert find("digits", "recipe").is_absolute()


def test_a_class_is_no_file():
    assert find_model("their.Net") == "their.Net"
    with pytest.raises(UsageError, match=r"there is no model 'resnett\.yaml' .* did you mean resnet"):
        find_model("resnett.yaml")


@pytest.mark.parametrize(
    ("old", "words"),
    [
        ("configs/experiment/fashion_mini/resnet.yaml", "--recipe fashion_mini --model resnet"),
        ("experiment/digits/neural_ode.yaml", "--recipe digits --model neural_ode"),
        ("fashion_mnist/resnet_shake_shake", "--recipe fashion_mnist --model resnet_shake_shake"),
        ("/old/configs/experiment/two_moons/cnf.yaml", "--recipe points --model cnf --data TwoMoons"),
        ("experiment/digits/diffusion_v.yaml", "--recipe digits_generation --model diffusion_v"),
        ("experiment/swiss_roll/diffusion_vp.yaml", "--recipe points --model diffusion_vp --data SwissRoll"),
        ("experiment/cifar10/resnet_20.yaml", "--config published/cifar10/resnet_20.yaml"),
        ("experiment/cifar10/diffusion_edm.yaml", "--config published/cifar10/diffusion_edm.yaml"),
    ],
)
def test_a_former_experiment_is_told_what_it_is_now(old, words):
    with pytest.raises(UsageError, match=f"is gone → use {words}$"):
        find(old)
    assert " ".join(f"--{option} {value}" for option, value in moved(old).items()) == words


@pytest.mark.parametrize(
    "name", ["experiment/digits/resnett.yaml", "trainer/gpu.yaml", "digits", "a/b/c.yaml"]
)
def test_other_names_were_no_experiment(name):
    assert moved(name) == {}


def test_files_that_name_files(write):
    write("optimizer.yaml", {"lr": 1})
    write("model.yaml", {"class_path": "A", "optimizer": "optimizer.yaml"})
    path = write("whole.yaml", {"model": "model.yaml", "note": "no_such.yaml"})
    assert read(path) == {"model": {"class_path": "A", "optimizer": {"lr": 1}}, "note": "no_such.yaml"}
    assert include("model.yaml", path.parent)["class_path"] == "A"


def test_circular_includes_are_refused(write):
    first = write("x.yaml", "a: y.yaml\n").resolve()
    write("y.yaml", "a: x.yaml\n")
    with pytest.raises(UsageError, match="includes itself"):
        read(first)


def test_no_python_among_the_configurations():
    top = find("base.yaml").parent
    assert {p.suffix for p in top.rglob("*") if p.is_file() and "__pycache__" not in p.parts} == {".yaml"}
    assert not [name for name in packaged() if name.startswith("experiment/")]
