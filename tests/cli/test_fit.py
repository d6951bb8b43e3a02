"""What `integrand fit` leaves in MLflow with no tracking flags, seen through MLflow itself."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from integrand.record import RunRecord

STEPS, SOLVER_STEPS, STAGES = 2, 2, 4  # 230 training images in batches of 128; rk4 has four stages


def history(program, run, key):
    return [(m.step, m.value) for m in program.client.get_metric_history(run.info.run_id, key)]


def test_run_ends_finished_with_names_and_tags_that_say_what_it_is(fitted):
    _, run, _ = fitted
    assert run.info.status == "FINISHED"
    assert run.info.run_name.startswith("neural-ode-digits")
    tags = run.data.tags
    assert tags["family"] == "neural-ode"
    assert tags["data"] == "digits"
    assert "rk4" in tags["solver"]


def test_evaluations_are_recorded_per_step_and_epoch(fitted):
    program, run, _ = fitted
    nfe = SOLVER_STEPS * STAGES
    assert [v for _, v in history(program, run, "solver/nfe_forward_step")] == [nfe] * 2 * STEPS
    assert [v for _, v in history(program, run, "solver/nfe_forward")] == [nfe] * 2
    assert [v for _, v in history(program, run, "solver/nfe_backward")] == [0] * 2
    assert [v for _, v in history(program, run, "solver/vjps")] == [nfe] * 2
    assert run.data.metrics["solver/test_nfe_forward"] == nfe


def test_metrics_best_final_and_cost_are_recorded(fitted):
    program, run, _ = fitted
    metrics = run.data.metrics
    val = [v for _, v in history(program, run, "val/acc")]
    assert len(val) == 2
    assert metrics["best/val_acc"] == max(val)
    assert metrics["final/val_acc"] == val[-1]
    assert metrics["final/test_acc"] == metrics["test/acc"]
    assert len(history(program, run, "train/loss_step")) == 2 * STEPS
    for name in (
        "parameters",
        "seconds_per_step",
        "seconds_per_epoch",
        "samples_per_second",
        "peak_memory_mb",
    ):
        assert metrics[f"cost/{name}"] > 0, name


def test_artifacts_hold_everything_to_read_and_repeat_the_run(fitted):
    program, run, _ = fitted
    folder = program.artifacts(run)
    config = yaml.safe_load((folder / "config/fit.yaml").read_text())
    assert config["seed_everything"] == 0
    assert config["model"]["init_args"]["solver"]["init_args"]["num_steps"] == SOLVER_STEPS
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance
    for figure in ("loss.png", "nfe.png", "steps.png", "confusion_test.png", "trajectories.png"):
        assert (folder / "figures" / figure).read_bytes().startswith(b"\x89PNG"), figure
    checkpoint = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)
    assert checkpoint["integrand"]["family"] == "neural-ode"
    assert yaml.safe_load(checkpoint["integrand"]["config"])["model"]["class_path"].endswith("NeuralODE")


def test_record_rebuilds_the_run_without_the_store(fitted):
    program, run, _ = fitted
    record = RunRecord.read(program.artifacts(run) / "record.json")
    assert record.run_id == run.info.run_id
    assert record.status == "FINISHED"
    assert (record.family, record.group, record.seed) == ("neural-ode", "continuous", 0)
    assert record.metrics["final/test_acc"] == run.data.metrics["final/test_acc"]
    assert [value for *_, value in record.history["val/acc"]] == [
        v for _, v in history(program, run, "val/acc")
    ]
    assert record.cost["parameters"] == run.data.metrics["cost/parameters"]
    assert len(record.data["digest"]) == 64
    assert "torchdiffeq rk4" in record.solver


def test_fit_with_the_recorded_config_repeats_it_bit_for_bit(fitted, program):
    """The first was a process of its own, the second is forked from one that has imported everything."""
    first_program, first, _ = fitted
    config = first_program.artifacts(first) / "config/fit.yaml"
    result = program("fit", "--config", str(config))
    assert result.returncode == 0, result.stderr
    (second,) = program.runs()
    assert second.info.run_id != first.info.run_id
    for key in ("train/loss_step", "train/loss", "val/loss", "solver/nfe_forward"):
        assert history(program, second, key) == history(first_program, first, key), key
    weights, wanted = (
        torch.load(p.artifacts(r) / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for p, r in ((program, second), (first_program, first))
    )
    assert set(weights) == set(wanted)
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_a_run_prints_one_line_per_epoch_into_a_pipe(fitted):
    _, _, result = fitted
    lines = [line for line in result.stdout.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert "val/acc" in lines[0]
    assert "solver/nfe_forward 8" in lines[0]


def test_adjoint_counts_its_backward_evaluations(program, small):
    result = program("fit", *small, "--model.solver.gradient", "adjoint", "--trainer.max_epochs", "1")
    assert result.returncode == 0, result.stderr
    (run,) = program.runs()
    # the adjoint solve makes as many steps of as many stages backwards, each with one product
    assert run.data.metrics["solver/nfe_backward"] == SOLVER_STEPS * STAGES
    assert run.data.metrics["solver/vjps"] == SOLVER_STEPS * STAGES


def test_later_configs_override_earlier_ones(program, tmp_path):
    (tmp_path / "a.yaml").write_text("model: {class_path: ResNet, init_args: {channels: 4, blocks: 1}}\n")
    (tmp_path / "b.yaml").write_text("model: {init_args: {blocks: 2}}\ntrainer: {max_epochs: 7}\n")
    result = program("fit", "--config", "a.yaml", "--config", "b.yaml", "--data", "Digits", "--print_config")
    assert result.returncode == 0, result.stderr
    config = yaml.safe_load(result.stdout)
    assert config["model"]["class_path"].endswith("ResNet")
    assert (config["model"]["init_args"]["channels"], config["model"]["init_args"]["blocks"]) == (4, 2)
    assert config["trainer"]["max_epochs"] == 7
    assert config["trainer"]["logger"]["class_path"].endswith("MLflowTracker")  # from the base config
    assert "spec" not in config["model"]["init_args"]  # the data publishes it


def test_defaults_of_the_default_family_are_not_carried_over(program):
    """NeuralODE has t1 = 1; a family with another default for a shared name must keep its own."""
    for option in (["--model", "NoBlock"], ["--model", "configs/model/no_block.yaml"]):
        result = program("fit", *option, "--data", "Digits", "--print_config")
        config = yaml.safe_load(result.stdout)
        assert config["model"]["class_path"].endswith("NoBlock")
        assert "t1" not in config["model"]["init_args"]
    from integrand.datamodules import Digits

    assert config["data"]["init_args"]["batch_size"] == Digits().batch_size


def test_no_options_at_all_name_a_family_and_a_data_set(program):
    config = yaml.safe_load(program("fit", "--print_config").stdout)
    assert config["model"]["class_path"].endswith("NeuralODE")
    assert config["data"]["class_path"].endswith("FashionMini")


def test_optimizer_and_schedule_are_injected(program, small):
    options = ["--model.optimizer", "SGD", "--model.optimizer.lr", "0.5", "--model.lr_scheduler", "StepLR"]
    result = program("fit", *small, *options, "--model.lr_scheduler.step_size", "1", "--print_config")
    assert result.returncode == 0, result.stderr
    model = yaml.safe_load(result.stdout)["model"]["init_args"]
    assert model["optimizer"]["class_path"] == "torch.optim.SGD"
    assert model["optimizer"]["init_args"]["lr"] == 0.5
    assert model["lr_scheduler"]["class_path"].endswith("StepLR")


CONFIGS = Path(__file__).parents[2] / "configs"
PUBLISHED = sorted((CONFIGS / "published").rglob("*.yaml"))
RECIPES = sorted((CONFIGS / "recipe").glob("*.yaml"))


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_published_setting_is_short_and_begins_with_its_command(path):
    lines = path.read_text().splitlines()
    relative = path.relative_to(CONFIGS.parent)
    assert lines[0].startswith("# integrand fit --config " + relative.as_posix())
    assert len(lines) <= 30


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_begins_with_its_command(path):
    assert path.read_text().startswith(f"# integrand fit --recipe {path.stem} --model ")
