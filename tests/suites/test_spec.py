"""Suite files: what they may say, and that mistakes are one clear line."""

import pytest

from integrand.config_files import PACKAGED
from integrand.errors import UsageError
from integrand.suites.cells import expand
from integrand.suites.search import read_search
from integrand.suites.spec import BudgetSpec, read_suite
from integrand.suites.teachers import waves

SUITES = sorted((PACKAGED / "suite").glob("*.yaml"))


def taught(*models):
    """The keys of a suite with these models."""
    return {"recipe": "points", "models": list(models)}


def test_the_quickstart_is_five_families_by_five_seeds():
    spec = read_suite("quickstart")
    assert spec.name == "quickstart"
    assert [e.short for e in spec.experiments] == [
        "no_block",
        "resnet",
        "neural_ode",
        "augmented_neural_ode",
        "heavy_ball_neural_ode",
    ]
    assert spec.seeds == (0, 1, 2, 3, 4)


@pytest.mark.parametrize("path", SUITES, ids=lambda p: p.stem)
def test_every_packaged_suite_expands_and_names_its_command(path):
    spec = read_suite(str(path))
    assert len(expand(spec)) == len(spec.experiments) * len(spec.variants) * len(spec.seeds)
    command = "sweep" if spec.sweep else "run"
    assert path.read_text().startswith(f"# integrand suite {command} configs/suite/{path.name}\n")
    if spec.sweep:
        assert read_search(spec).space


@pytest.mark.parametrize("name", ["quickstart", "suite/quickstart.yaml", "configs/suite/quickstart.yaml"])
def test_packaged_suites_by_any_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_suite(name).name == "quickstart"


def test_a_matrix_of_recipes_and_models(suite_file, tmp_path):
    (tmp_path / "net.yaml").write_text("class_path: their.Net\n")
    path = suite_file(
        recipe=["digits", "fashion-mini"], models=["resnet", "net.yaml", "their.Other"], seeds=[0]
    )
    assert [c.label for c in expand(read_suite(str(path)))] == [
        *(f"{tmp_path.name}/{e} seed 0" for e in ("a", "b")),
        *(f"{r}/{m} seed 0" for r in ("digits", "fashion_mini") for m in ("resnet", "net", "Other")),
    ]


def test_a_cell_has_the_configuration_of_its_recipe_with_its_model(suite_file):
    path = suite_file(recipe="digits", models=["resnet"], experiments=["a.yaml"], seeds=[0])
    _, cell = expand(read_suite(str(path)))
    assert cell.source.content()["model"]["init_args"]["channels"] == 8
    recipe, model = (str((PACKAGED / f).resolve()) for f in ("recipe/digits.yaml", "model/resnet.yaml"))
    assert cell.command("s")[4:8] == ("--recipe", recipe, "--model", model)


CHAIN = taught(
    {"model": "flow_distillation", "name": "distilled", "teacher": "reflow"},
    {"model": "rectified_flow", "name": "reflow", "teacher": "cfm", "overrides": {"model.pairs": 9, "x": 1}},
    "cfm",
    "rectified_flow",
)


def test_models_with_names_options_and_teachers(suite_file):
    spec = read_suite(str(suite_file(**CHAIN, experiments=["a.yaml"], seeds=[0, 1], overrides={"x": 2})))
    cells = expand(spec)
    assert [c.experiment.rpartition("/")[2] for c in cells] == [
        "a", "distilled", "reflow", "cfm", "rectified_flow"
    ] * 2  # fmt: skip
    for _, distilled, reflow, cfm, plain in (cells[:5], cells[5:]):
        # of its own seed, whatever the order of the file
        assert (distilled.teacher, reflow.teacher) == (reflow.key, cfm.key)
        assert cfm.teacher == plain.teacher == ""
        # its own options hold over the suite's
        assert (reflow.overrides, plain.overrides) == ({"x": 1, "model.pairs": 9}, {"x": 2})
        assert reflow.command("s")[6:8] == plain.command("s")[6:8]
        assert reflow.name == f"s{reflow.seed} reflow"


def test_waves_end_with_the_pupils_and_keep_seeds_together(suite_file):
    cells = expand(read_suite(str(suite_file(**CHAIN, experiments=["a.yaml"], seeds=[5, 3]))))
    found = waves(cells, {c.key: c for c in cells})
    assert [[f"{c.seed} {c.source.short}" for c in wave] for wave in found] == [
        ["5 a", "5 cfm", "5 rectified_flow"],
        ["5 reflow", "3 a", "3 cfm", "3 rectified_flow"],
        ["5 distilled", "3 reflow"],
        ["3 distilled"],
    ]
    # nothing waits where nothing is taught
    plain = expand(read_suite(str(suite_file(seeds=[0, 1]))))
    assert waves(plain, {c.key: c for c in plain}) == [plain]


def test_each_variant_has_the_teacher_of_its_own(suite_file):
    variants = [{"trainer.max_epochs": n} for n in (1, 2)]
    cells = expand(
        read_suite(str(suite_file(**CHAIN, experiments=["a.yaml"], seeds=[0], overrides=variants)))
    )
    by_key = {c.key: c for c in cells}
    for cell in (c for c in cells if c.teacher):
        assert by_key[cell.teacher].overrides["trainer.max_epochs"] == cell.overrides["trainer.max_epochs"]


def test_a_key_holds_that_of_the_teacher(suite_file):
    def keys(**changes):
        models = [dict(m) if isinstance(m, dict) else m for m in CHAIN["models"]]
        models[2] = {"model": "cfm", **changes}
        return [c.key for c in expand(read_suite(str(suite_file(**taught(*models), seeds=[0]))))][2:]

    before, after = keys(), keys(overrides={"model.path.sigma": 0.1})
    # the chain below cfm, and not the model beside it
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, False, True]


def test_a_suite_of_nothing(tmp_path):
    (tmp_path / "s.yaml").write_text("seeds: 3")
    with pytest.raises(UsageError, match="has nothing to train"):
        read_suite(str(tmp_path / "s.yaml"))


def test_seeds_as_a_number(suite_file):
    assert read_suite(str(suite_file(seeds=3))).seeds == (0, 1, 2)


def test_budget(suite_file):
    # YAML reads 2e6, without a point, as text
    assert read_suite(str(suite_file(budget={"seconds": 90, "nfe": "2e6"}))).budget == BudgetSpec(90.0, 2e6)
    assert read_suite(str(suite_file())).budget == BudgetSpec()


def test_name_defaults_to_the_file(suite_file):
    path = suite_file()
    path.write_text("experiments: [a.yaml]")
    assert read_suite(str(path)).name == "s"
    assert read_suite(str(path)).seeds == (0,)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": [0]}, "did you mean seeds"),
        ({"name": "a b/c"}, "cannot name a suite"),
        ({"experiments": []}, "experiments is not a list of names"),
        ({"experiments": ["a.yaml", "nope.yaml"]}, "there is no configuration 'nope.yaml'"),
        (
            {"experiments": ["published/cifar10/resnet_21.yaml"]},
            "did you mean published/cifar10/resnet_",
        ),
        (
            {"experiments": ["experiment/digits/resnet.yaml"]},
            r"is gone → use recipe: digits, models: \[resnet\]$",
        ),
        (
            {"experiments": ["experiment/circles/cnf.yaml"]},
            r"use recipe: points, models: \[cnf\], overrides: {data: Circles}$",
        ),
        ({"experiments": ["cifar10/resnet_20"]}, r"use experiments: \[published/cifar10/resnet_20.yaml\]$"),
        ({"recipe": "digits"}, "recipe without models"),
        ({"models": ["resnet"]}, "models without recipe"),
        (
            taught({"model": "cfm"}, {"model": "rectified_flow", "teacher": "cmf"}),
            "taught by 'cmf', which the suite does not train, did you mean cfm",
        ),
        (
            taught({"model": "rectified_flow", "teacher": "rectified_flow"}),
            "rectified_flow is taught by rectified_flow",
        ),
        (
            taught(
                {"model": "cfm", "name": "a", "teacher": "b"}, {"model": "cfm", "name": "b", "teacher": "a"}
            ),
            "a is taught by b is taught by a",
        ),
        (
            taught("my.Net", "their.Net", {"model": "cfm", "teacher": "Net"}),
            "several models are called Net",
        ),
        (taught("cfm", {"model": "cfm"}), "listed twice"),
        (taught({"name": "a"}), "is no model"),
        (taught({"model": "cfm", "name": "a b"}), "cannot name a model"),
        (taught({"model": "cfm", "teachers": "x"}), "no key 'teachers', did you mean teacher"),
        (
            taught("cfm", {"model": "mean_flow", "teacher": "cfm", "overrides": {"model.teacher": "x.ckpt"}}),
            "mean_flow has two teachers",
        ),
        (taught({"model": "cfm", "overrides": {"seed_everything": 1}}), "list it under seeds"),
        (
            taught("cfm", {"model": "rectified_flow", "teacher": "cfm"}) | {"sweep": {"space": {}}},
            "a sweep trains no teachers",
        ),
        ({"recipe": "digits", "models": {"resnet": 1}}, "models is not a list of names"),
        ({"recipe": "digits", "models": ["resnett"]}, "there is no model 'resnett', did you mean resnet"),
        ({"recipe": "digits", "models": ["nope.yaml"]}, "there is no model 'nope.yaml'"),
        ({"recipe": "digitz", "models": ["resnet"]}, "there is no recipe 'digitz'.*did you mean digits"),
        ({"recipe": "digits", "models": ["resnet", "ResNet"]}, "listed twice"),
        ({"experiments": ["a.yaml", "a.yaml"]}, "listed twice"),
        ({"seeds": [0, 0]}, "seeds"),
        ({"seeds": [-1]}, "seeds"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": [True]}, "seeds"),
        ({"seeds": "0 1"}, "seeds"),
        ({"overrides": ["x"]}, "overrides"),
        ({"overrides": {"seed_everything": 3}}, "list it under seeds"),
        ({"overrides": {"trainer.logger.run_key": "x"}}, "sets trainer.logger itself"),
        ({"args": "--x"}, "args"),
        ({"budget": 60}, "budget 60 is none"),
        ({"budget": {"second": 60}}, "budget {'second': 60} is none"),
        ({"budget": {"seconds": -1}}, "seconds -1 is not a positive number"),
        ({"budget": {"nfe": "many"}}, "nfe 'many' is not a positive number"),
        ({"sweep": []}, "sweep is not a search"),
        ({"args": ["--trainer.logger=false"]}, "sets trainer.logger itself"),
    ],
)
def test_mistakes(suite_file, change, says):
    with pytest.raises(UsageError, match=says):
        read_suite(str(suite_file(**change)))


@pytest.mark.parametrize("text", ["- a", "a: [", ""])
def test_no_suite_at_all(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"x\.yaml"):
        read_suite(str(tmp_path / "x.yaml"))


def test_unknown_suite():
    with pytest.raises(UsageError, match="did you mean quickstart"):
        read_suite("quikstart")
