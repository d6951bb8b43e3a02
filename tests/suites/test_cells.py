"""Cells: their order, their commands, and when two keys are equal."""

import json
import sys

import pytest
import yaml

from integrand.errors import UsageError
from integrand.suites import cells as cells_module
from integrand.suites.cells import by_key, expand
from integrand.suites.spec import read_suite


def keys(path):
    return {c.label: c.key for c in expand(read_suite(str(path)))}


def test_seeds_come_one_after_another(cells, tmp_path):
    folder = tmp_path.name
    assert [c.label for c in cells] == [f"{folder}/{e} seed {s}" for s in (0, 1) for e in ("a", "b")]
    assert len(by_key(cells)) == 4


def test_command(suite_file):
    overrides = {"trainer.max_epochs": 2, "model.init_args.solver.init_args.rtol": 1e-05, "a": True, "b": "x"}
    (cell, *_) = expand(read_suite(str(suite_file(overrides=overrides, args=["--trainer", "gpu"]))))
    command = cell.command("s")
    assert command[:4] == (sys.executable, "-m", "integrand", "fit")
    pairs = dict(zip(command[4:-6:2], command[5:-6:2], strict=True))
    assert json.loads(pairs.pop("--trainer.logger.tags")) == {"cell": cell.experiment}
    assert pairs == {
        "--config": str(cell.source.config),
        "--seed_everything": "0",
        "--trainer.logger.experiment": "s",
        "--trainer.logger.suite": "s",
        "--trainer.logger.run_key": cell.key,
        "--trainer.logger.run_name": "s0 a",
        # started again after an interruption, the same command goes on
        "--trainer.logger.resume": "true",
        "--ckpt_path": "last",
        "--test_after_fit": "true",
    }
    assert command[-6:] == (
        "--trainer.max_epochs=2",
        "--model.init_args.solver.init_args.rtol=1e-05",
        "--a=true",
        "--b=x",
        "--trainer",
        "gpu",
    )


def test_a_key_stays_if_only_layout_changes(suite_file, tmp_path):
    before = keys(suite_file())
    (tmp_path / "a.yaml").write_text(
        "data:\n  class_path: Digits\nmodel:\n  class_path: ModelA  # other comment\n"
    )
    assert keys(suite_file(name="s", seeds=[1, 0])) == before


@pytest.mark.parametrize(
    "change",
    [{"overrides": {"trainer.max_epochs": 2}}, {"args": ["--trainer.max_epochs", "2"]}],
)
def test_a_key_changes_with_what_is_run(suite_file, change):
    before = keys(suite_file())
    after = keys(suite_file(**change))
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


def test_a_key_changes_with_included_files(suite_file, tmp_path):
    (tmp_path / "model.yaml").write_text("class_path: M\n")
    (tmp_path / "a.yaml").write_text("model: model.yaml\n")
    before = keys(suite_file())
    (tmp_path / "model.yaml").write_text("class_path: N\n")
    after = keys(suite_file())
    changed = {label for label in before if before[label] != after[label]}
    assert changed == {f"{tmp_path.name}/a seed 0", f"{tmp_path.name}/a seed 1"}


def test_a_key_changes_with_a_file_among_the_arguments(suite_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpu.yaml").write_text("accelerator: gpu\n")
    before = keys(suite_file(args=["--trainer", "gpu.yaml"]))
    (tmp_path / "gpu.yaml").write_text("accelerator: cpu\n")
    assert not set(before.values()) & set(keys(suite_file(args=["--trainer", "gpu.yaml"])).values())


def test_a_bare_name_is_the_file_that_it_means(suite_file):
    """Else a change of the packaged file would change no key."""
    named = [keys(suite_file(overrides={"data": name})) for name in ("digits", "configs/data/digits.yaml")]
    assert named[0] == named[1]
    assert not set(named[0].values()) & set(keys(suite_file(overrides={"data": "mnist"})).values())
    named = [keys(suite_file(args=["--trainer", name])) for name in ("gpu", "trainer/gpu.yaml")]
    assert named[0] == named[1]


def test_a_key_changes_with_the_code(suite_file, monkeypatch):
    before = keys(suite_file())
    monkeypatch.setattr(cells_module, "cell_code", lambda *said: "other")
    assert not set(before.values()) & set(keys(suite_file()).values())


def test_overrides_as_a_list_multiply_and_name_what_differs(suite_file, tmp_path):
    overrides = [{"model.solver.rtol": r, "trainer.max_epochs": 2} for r in (0.1, 0.01)]
    cells = expand(read_suite(str(suite_file(overrides=overrides, seeds=[0]))))
    folder = tmp_path.name
    assert [c.experiment for c in cells] == [
        f"{folder}/{e} rtol={r}" for e in ("a", "b") for r in (0.1, 0.01)
    ]


def test_equal_variants_are_refused(suite_file):
    overrides = [{"x": 1}, {"x": 1}]
    with pytest.raises(UsageError, match="twice"):
        by_key(expand(read_suite(str(suite_file(overrides=overrides)))))


def test_cells_are_named_by_recipe_and_model():
    cell = expand(read_suite("quickstart"))[0]
    assert cell.experiment == "quickstart/no_block"
    assert cell.name == "s0 no_block"


def test_a_key_changes_with_the_recipe_and_the_model_of_the_cell_alone(suite_file, tmp_path):
    (tmp_path / "r.yaml").write_text("data: {class_path: Digits}\n")
    for name in ("m", "n"):
        (tmp_path / f"{name}.yaml").write_text("class_path: their.Net\n")

    def keys():
        path = suite_file(recipe="r.yaml", models=["m.yaml", "n.yaml"], seeds=[0])
        return [c.key for c in expand(read_suite(str(path)))]

    before = keys()
    (tmp_path / "m.yaml").write_text("class_path: their.Net\ninit_args: {depth: 2}\n")
    model = keys()
    assert [a == b for a, b in zip(before, model, strict=True)] == [True, True, False, True]
    (tmp_path / "r.yaml").write_text("data: {class_path: Digits}\ntrainer: {max_epochs: 2}\n")
    assert [a == b for a, b in zip(model, keys(), strict=True)] == [True, True, False, False]


def test_a_class_in_an_override_is_told_by_its_name(suite_file):
    variants = [
        {
            "model.solver": {"class_path": "solvers.Euler", "init_args": {"num_steps": 4, "rtol": None}},
            "x": 1,
        },
        {"model.solver.rtol": 0.01, "x": 1},
    ]
    first, second, *_ = expand(read_suite(str(suite_file(experiments=["a.yaml"], overrides=variants))))
    assert first.label.endswith("/a solver=Euler num_steps=4 seed 0")
    assert first.name == "s0 a solver=Euler num_steps=4"
    assert second.name == "s0 a rtol=0.01"
    assert (
        '--model.solver={"class_path": "solvers.Euler", "init_args": {"num_steps": 4, "rtol": null}}'
        in first.command("s")
    )


def test_the_name_of_a_run_is_one_word_to_yaml(suite_file):
    """A mapping among the overrides made one of the option, and every such cell failed."""
    path = suite_file(
        overrides=[{"model.parameters": {"stiffness": 1.0, "g": 2}}, {"model.note": "a: b #c"}], seeds=[0]
    )
    for cell in expand(read_suite(str(path))):
        command = cell.command("s")
        name = command[command.index("--trainer.logger.run_name") + 1]
        assert yaml.safe_load(name) == name
