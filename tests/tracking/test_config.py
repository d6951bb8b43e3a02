"""The configuration of a run: an artifact that makes the same run again, parameters, and a digest."""

import pytest
import torch
import yaml
from lightning.pytorch.cli import LightningCLI, OptimizerCallable

from integrand.tracking import ConfigRecorder, MLflowTracker, default_callbacks
from integrand.tracking.provenance.configuration import as_params, config_digest, reproducible
from integrand.tracking.store.runs import config_path, find_run, read_record

CONFIG = {
    "seed_everything": 3,
    "trainer": {
        "max_epochs": 5,
        "default_root_dir": "/somewhere",
        "logger": {
            "class_path": "integrand.tracking.MLflowTracker",
            "init_args": {"experiment": "e", "run_id": "abc", "run_name": "n", "suite": "s", "run_key": "k"},
        },
        "callbacks": [
            {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitor": "m"}}
        ],
    },
    "model": {
        "class_path": "integrand.modules.NeuralODE",
        "init_args": {
            "width": 8,
            "scheduler": None,
            "optimizer": {
                "class_path": "torch.optim.Adam",
                "init_args": {"lr": 0.001, "betas": [0.9, 0.999]},
            },
        },
    },
    "data": {"class_path": "Digits", "init_args": {"batch_size": 32, "data_dir": "/data"}},
    "ckpt_path": "last",
}


def changed(path, value):
    config = yaml.safe_load(yaml.safe_dump(CONFIG))
    *parents, key = path.split(".")
    at = config
    for parent in parents:
        at = at[parent]
    at[key] = value
    return config


def test_params_are_flat_and_short():
    params = as_params(CONFIG)
    assert params["model"] == "NeuralODE"
    assert params["model.width"] == "8"
    assert params["model.optimizer"] == "Adam"
    assert params["model.optimizer.lr"] == "0.001"
    assert params["model.optimizer.betas"] == "[0.9, 0.999]"
    assert params["trainer.callbacks.0"] == "EarlyStopping"
    assert params["seed_everything"] == "3"
    assert not any("logger" in key or "init_args" in key or "class_path" in key for key in params)
    assert "model.scheduler" not in params


def test_long_values_and_odd_keys_fit_into_mlflow():
    params = as_params({"model": {"text": "x" * 10_000, "a[0]+b": 1}})
    assert len(params["model.text"]) == 6000
    assert params["model.a_0__b"] == "1"


def test_reproducible_names_no_run_and_keeps_the_rest():
    config = reproducible(CONFIG)
    arguments = config["trainer"]["logger"]["init_args"]
    assert arguments == {"experiment": "e", "run_id": None, "run_name": None, "suite": "", "run_key": ""}
    assert config["ckpt_path"] is None
    assert config["model"] == CONFIG["model"]
    assert CONFIG["ckpt_path"] == "last"  # the original is untouched


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("seed_everything", 4),
        ("ckpt_path", None),
        ("trainer.default_root_dir", "/elsewhere"),
        ("trainer.logger.init_args.run_id", "xyz"),
        ("trainer.logger", False),
        ("data.init_args.data_dir", None),
    ],
)
def test_digest_ignores_what_does_not_make_another_experiment(path, value):
    assert config_digest(changed(path, value)) == config_digest(CONFIG)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("trainer.max_epochs", 6),
        ("model.init_args.width", 9),
        ("model.class_path", "integrand.modules.ResNet"),
        ("model.init_args.optimizer.init_args.lr", 0.002),
        ("data.init_args.batch_size", 64),
    ],
)
def test_digest_sees_what_does(path, value):
    assert config_digest(changed(path, value)) != config_digest(CONFIG)


def test_a_checkpoint_counts_as_what_it_was_trained_as(tmp_path):
    """Teachers of other seeds lie elsewhere; a taught run is the same experiment, unless its teacher is not."""

    def teacher(name, path, value):
        (folder := tmp_path / name).mkdir()
        left = {"integrand": {"config": yaml.safe_dump(changed(path, value))}, "state_dict": {}}
        torch.save(left, folder / "best.ckpt")
        return str(folder / "best.ckpt")

    paths = [teacher("a", "seed_everything", 1), teacher("b", "seed_everything", 2)]
    paths += [teacher("c", "model.init_args.width", 9), str(tmp_path / "gone" / "best.ckpt")]
    same, again, other, gone = (config_digest(changed("model.init_args.teacher", p)) for p in paths)
    assert same == again
    assert len({same, other, gone, config_digest(CONFIG)}) == 4


def cli(tiny, *arguments, model=None):
    return LightningCLI(
        model or tiny.TinyModule,
        tiny.TinyData,
        seed_everything_default=0,
        save_config_callback=ConfigRecorder,
        trainer_defaults={
            "accelerator": "cpu",
            "logger": {"class_path": "integrand.tracking.MLflowTracker", "init_args": {}},
            "callbacks": default_callbacks(),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
        },
        args=list(arguments),
    )


def test_recorded_config_makes_the_same_run_bit_for_bit(workdir, tiny, client):
    arguments = ["fit", "--trainer.max_epochs", "2", "--model.width", "6", "--model.lr", "0.03"]
    first = cli(
        tiny, *arguments, "--seed_everything", "5", "--trainer.logger.run_name", "mine"
    ).trainer.logger
    run = client.get_run(first.run_id)
    assert run.info.run_name == "mine"
    assert run.data.params["model.width"] == "6"
    assert run.data.params["seed_everything"] == "5"
    path = config_path(find_run(first.run_id))
    assert path.name == "fit.yaml"
    second = cli(tiny, "fit", "--config", str(path)).trainer.logger
    assert second.run_id != first.run_id
    for key in ("train/loss_step", "train/loss", "val/loss"):
        one, two = (
            [(p.step, p.value) for p in client.get_metric_history(t.run_id, key)] for t in (first, second)
        )
        assert one == two
    assert len(one) == 2
    records = [read_record(client, t.run_id) for t in (first, second)]
    assert records[0].config_digest == records[1].config_digest
    assert records[0].config["model"]["width"] == 6
    assert records[0].seed == 5


def test_second_stage_of_a_run_adds_its_config_and_no_param_changes(workdir, tiny, client):
    tracker = cli(tiny, "fit", "--trainer.max_epochs", "1").trainer.logger
    before = client.get_run(tracker.run_id).data.params
    for _ in range(2):
        arguments = ["--trainer.logger.run_id", tracker.run_id, "--model.lr", "0.5"]
        cli(tiny, "test", *arguments)
    run = client.get_run(tracker.run_id)
    assert run.data.params["model.lr"] == before["model.lr"]
    configs = {item.path for item in client.list_artifacts(tracker.run_id, "config")}
    assert configs == {"config/fit.yaml", "config/test.yaml", "config/test-2.yaml"}
    assert run.info.status == "FINISHED"


def test_checkpoint_holds_the_config(workdir, tiny):
    import torch

    from integrand.tracking.store.runs import checkpoint

    tracker = cli(tiny, "fit", "--trainer.max_epochs", "1", "--model.width", "5").trainer.logger
    contents = torch.load(checkpoint(find_run(tracker.run_id)), weights_only=True)["integrand"]
    assert yaml.safe_load(contents["config"])["model"]["width"] == 5


def test_hyperparameters_of_lightning_are_not_recorded(workdir, client):
    tracker = MLflowTracker()
    run_id = tracker.run_id
    tracker.log_hyperparams({"a": 1})
    tracker.end("FINISHED")
    assert client.get_run(run_id).data.params == {}


def test_a_default_that_cannot_be_written_down_is_named(workdir, tiny):
    """jsonargparse reads single constants out of a lambda, and no pair of numbers."""
    warning = "can hold the default of model.optimizer, so this run can neither be loaded"
    module = type("Module", (tiny.TinyModule,), {"__init__": _with_a_pair, "__module__": __name__})
    with pytest.warns(UserWarning, match=warning):
        cli(tiny, "fit", "--trainer.max_epochs", "1", model=module)


def _with_a_pair(
    self, optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3, betas=(0.5, 0.9))
) -> None:
    super(type(self), self).__init__()
