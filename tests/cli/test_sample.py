"""`integrand sample` and `evaluate --with samples` on models of one epoch: files, what MLflow holds, errors."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from integrand import quantities
from integrand.cli.main import main
from integrand.comparison.records.load import Selection, load
from integrand.figures.samples import scatter

TINY = [
    *("--data", "Digits", "--data.train_limit", "64", "--data.normalise", "symmetric"),
    *("--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"),
    *("--trainer.limit_val_batches", "1"),
]
UNET = [
    *("--model.backbone", "UNet", "--model.backbone.channels", "8", "--model.backbone.blocks", "1"),
    *("--model.backbone.multipliers", "[1, 2]"),
]


MINE = """
import math

from integrand.diffusion import DDIM, DataPrediction


class NeedsData(DDIM):
    parametrisations = (DataPrediction,)


class Plain(DDIM):
    pass
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with one run each of a diffusion model, one with classes, a flow and a classifier."""
    folder = tmp_path_factory.mktemp("sampling")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("INTEGRAND_OFFLINE", "1")
    patch.setenv("INTEGRAND_CACHE", str(folder / "cache"))
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    small = [
        "--data",
        "TwoMoons",
        "--data.train_size",
        "256",
        "--data.val_size",
        "64",
        "--data.test_size",
        "200",
    ]
    fits = {
        "plain": ["--model", "DiffusionModel", *UNET, *TINY],
        "classes": ["--model", "DiffusionModel", "--model.conditional", "true", *UNET, *TINY],
        # of a path that is no diffusion process
        "flow": ["--model", "FlowMatching", "--model.path", "Lipman", *small, *TINY[6:]],
        "classifier": ["--model", "ResNet", "--model.channels", "4", *TINY],
    }
    for name, options in fits.items():
        assert main(["fit", *options, "--trainer.logger.run_name", name]) == 0
    (folder / "mine.py").write_text(MINE)
    yield folder
    patch.undo()


@pytest.fixture
def at(place, monkeypatch):
    """That folder as the working directory."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("INTEGRAND_OFFLINE", "1")
    monkeypatch.setenv("INTEGRAND_CACHE", str(place / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    return place


def runs(folder):
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "integrand"]
    return client.search_runs([experiment.experiment_id], max_results=500)


def named(folder, name):
    return next(r for r in runs(folder) if r.info.run_name == name)


def children(folder, parent):
    return [r for r in runs(folder) if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]


def artifacts(run):
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def checkpoint(folder, name):
    run = named(folder, name)
    return str(Path(run.info.artifact_uri.removeprefix("file://")) / "checkpoints" / "best.ckpt")


def test_sample_writes_a_picture_and_a_tensor_and_a_child_run(at, tmp_path, capsys):
    parent = named(at, "plain")
    before = {r.info.run_id for r in children(at, parent)}
    code = main(
        ["sample", "--run", "plain", "--sampler", "ddim", "--nfe", "3", "--n", "5", "--out", str(tmp_path)]
    )
    assert code == 0
    stem = tmp_path / "ddim-nfe3-seed0"
    assert Path(f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    held = torch.load(f"{stem}.pt", weights_only=True)
    assert held["samples"].shape == (5, 1, 8, 8)
    assert not held["failed"].any()
    assert (held["nfe"], held["seed"], held["sampler"], held["data"]) == (3, 0, "ddim", "digits")
    (child,) = [r for r in children(at, parent) if r.info.run_id not in before]
    assert child.info.status == "FINISHED"
    tags = child.data.tags
    assert (tags["role"], tags["status"], tags["family"], tags["data"]) == (
        "sampling",
        "finished",
        "diffusion",
        "digits",
    )
    assert child.data.params["sampler"] == "ddim"
    assert child.data.metrics["nfe"] == 3
    assert child.data.metrics["failed"] == 0
    assert artifacts(child) == {"samples/ddim-nfe3-seed0.png", "samples/ddim-nfe3-seed0.pt"}
    said = capsys.readouterr().out
    assert child.info.run_id[:8] in said


def test_samples_do_not_depend_on_the_batch_or_the_source(at, tmp_path):
    options = ["--sampler", "ddpm", "--nfe", "4", "--n", "6", "--seed", "7"]
    made = []
    for number, more in enumerate(
        (["--run", "plain"], ["--ckpt", checkpoint(at, "plain"), "--batch-size", "4"], ["--run", "plain"])
    ):
        out = tmp_path / str(number)
        assert main(["sample", *options, *more, "--out", str(out)]) == 0
        made.append(torch.load(out / "ddpm-posterior-nfe4-seed7.pt", weights_only=True)["samples"])
    # convolutions of another batch size may sum in another order
    torch.testing.assert_close(made[0], made[1], rtol=1e-4, atol=1e-4)
    assert torch.equal(made[0], made[2])


def test_sampling_runs_are_no_experiments(at, tmp_path, capsys):
    assert main(["sample", "--run", "plain", "--nfe", "2", "--n", "2", "--out", str(tmp_path)]) == 0
    from integrand.tracking.store.runs import find_run

    assert find_run("latest").name == "classifier"  # the newest of those that trained
    compared = {r.run_id for r in load(Selection("integrand")).records}
    assert compared == {named(at, n).info.run_id for n in ("plain", "classes", "flow", "classifier")}


def test_a_sampler_of_ones_own_is_named_by_its_path(at, tmp_path):
    options = ["sample", "--run", "plain", "--nfe", "2", "--n", "2", "--out", str(tmp_path)]
    assert main([*options, "--sampler", "mine.Plain", "--sampler.eta", "0.0"]) == 0
    assert main([*options, "--sampler", "ddim", "--seed", "0"]) == 0
    (file,) = tmp_path.glob("*.pt")  # the same numbers, and so the same name
    assert torch.load(file, weights_only=True)["failed"].tolist() == [False] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.sampling.sampler", "mine.NeedsData"], "does not apply to the parametrisation"),
        (["--model.sampling.sampler", "PNDM", "--model.sampling.nfe", "5"], "needs at least NFE"),
        (["--model.sampling.guidance", "2"], "the model is unconditional"),
        (
            ["--model.evaluation", "ImageEvaluation", "--model.evaluation.fid", "true"],
            "pip install 'integrand[fid]'",
        ),
    ],
)
def test_a_fit_that_could_not_be_sampled_is_refused_before_it_trains(
    at, capsys, monkeypatch, options, message
):
    from integrand.metrics import inception

    monkeypatch.setattr(inception, "find_spec", lambda name: None)
    assert main(["fit", "--model", "DiffusionModel", *UNET, *options, *TINY]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if "error" in x]
    assert message in line
    assert not [r for r in runs(at) if r.info.status == "RUNNING"]


def test_a_class_and_guidance(at, tmp_path):
    options = ["sample", "--run", "classes", "--n", "4", "--out", str(tmp_path), "--sampler", "ddim"]
    assert main([*options, "--nfe", "4", "--label", "3", "--guidance", "2"]) == 0
    held = torch.load(tmp_path / "ddim-w=2-nfe4-seed0.pt", weights_only=True)
    assert held["labels"].tolist() == [3] * 4
    assert held["guidance"] == 2.0
    assert main([*options, "--nfe", "2", "--label", "none"]) == 0
    assert torch.load(tmp_path / "ddim-nfe2-seed0.pt", weights_only=True)["labels"].tolist() == [10] * 4


def test_a_fit_without_validation_is_sampled_by_its_last_weights(at, tmp_path):
    small = ["--data", "TwoMoons", "--data.train_size", "256", *TINY[6:], "--trainer.limit_val_batches", "0"]
    assert main(["fit", "--model", "FlowMatching", *small, "--trainer.logger.run_name", "unseen"]) == 0
    run = named(at, "unseen")
    assert not any(name.endswith("best.ckpt") for name in artifacts(run))
    assert main(["sample", "--run", "unseen", "--n", "3", "--out", str(tmp_path)]) == 0
    (child,) = children(at, run)
    assert child.data.params["checkpoint"] == "last.ckpt"
    client = MlflowClient(f"sqlite:///{at}/mlflow.db")
    for one in (run, child):
        client.delete_run(one.info.run_id)  # other tests count the runs


def test_a_flow_is_sampled_by_ode_solvers(at, tmp_path):
    options = ["sample", "--run", "flow", "--n", "9", "--out", str(tmp_path)]
    assert main([*options, "--sampler", "RK4", "--nfe", "10"]) == 0
    held = torch.load(tmp_path / "rk4-num-steps=2-nfe8-seed0.pt", weights_only=True)
    assert held["samples"].shape == (9, 2)
    assert held["nfe"] == 8  # two steps of four evaluations fit into ten
    assert main(options) == 0  # its own solver


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--run", "plain", "--guidance", "2"], 2, "the model is unconditional"),
        (["--run", "plain", "--label", "3"], 2, "the model is unconditional"),
        (["--run", "classes", "--label", "eleven"], 2, "has no class 'eleven'"),
        (["--run", "classes", "--guidance", "2", "--nfe", "1"], 2, "needs at least NFE 2, not 1"),
        (["--run", "plain", "--sampler", "pndm", "--nfe", "5"], 2, "needs at least NFE"),
        (["--run", "plain", "--sampler", "dimm"], 2, "there is no sampler 'dimm', did you mean ddim?"),
        (["--run", "plain", "--sampler", "DDIM", "--sampler.eta=3"], 2, "eta must lie in [0, 1]"),
        (["--run", "plain", "--sampler", "DDIM", "--sampler.foo", "3"], 2, "'foo' is not accepted"),
        (["--run", "plain", "--sampler.eta", "1"], 2, "options of which sampler?"),
        (["--run", "plain", "--sampler", "flow-dopri5", "--nfe", "30"], 2, "chooses its number"),
        (["--run", "plain", "--grid", "cubic"], 2, "there is no grid 'cubic'"),
        (["--run", "plain", "--n", "0"], 2, "--n 0"),
        (["--run", "plain", "--nfe", "0"], 2, "--nfe 0"),
        (["--run", "classifier"], 2, "ResNet, which generates nothing"),
        (["--run", "flow", "--sampler", "ddim"], 2, "Lipman is no diffusion process"),
        (["--run", "flow", "--image", "picture.png"], 2, "--image starts samplers of diffusion"),
        (["--run", "flow", "--sampler", "RK4", "--nfe", "3"], 2, "needs at least NFE 4, not 3"),
        (["--run", "flow", "--sampler", "RK4"], 2, "RK4 takes fixed steps → say how many evaluations"),
        (["--run", "flow", "--grid", "karras"], 2, "--grid is for diffusion models"),
        (["--run", "nobody"], 1, "no run 'nobody'"),
        (["--ckpt", "nothing.ckpt"], 2, "no checkpoint nothing.ckpt"),
        (["--n", "3"], 2, "--ckpt"),
        (["--run", "plain", "--sampler", "mine.NeedsData"], 2, "does not apply to the parametrisation Noise"),
        (["--run", "plain", "--sampler", "mine.Nothing"], 2, "there is no sampler 'mine.Nothing'"),
        (["--run", "plain", "--sampler", "mine.math"], 2, "mine.math is no sampler"),
        (["--run", "plain", "--sampler", "yours.DDIM"], 2, "there is no sampler 'yours.DDIM'"),
        (["--run", "plain", "--sampler", "{eta: 1}"], 2, "names no class"),
        (["--run", "plain", "--sampler", "__import__('os')"], 2, "there is no sampler"),
    ],
)
def test_what_cannot_be_sampled_is_one_line(at, capsys, options, code, message):
    count = len(runs(at))
    assert main(["sample", *options]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert len(runs(at)) == count, "a refused request leaves no run"


def spoiled(at, tmp_path, name="plain"):
    """A checkpoint whose averaged weights are infinite, with the run that left it."""
    held = torch.load(checkpoint(at, name), weights_only=True)
    for key, value in held["state_dict"].items():
        if value.is_floating_point() and "first.bias" in key:
            value.fill_(torch.inf)
    path = tmp_path / "spoiled.ckpt"
    torch.save(held, path)
    return str(path)


def test_samples_that_are_not_finite_are_kept_and_marked(at, tmp_path, capsys):
    path = spoiled(at, tmp_path)
    parent = named(at, "plain")
    before = {r.info.run_id for r in children(at, parent)}
    assert main(["sample", "--ckpt", path, "--nfe", "2", "--n", "3", "--out", str(tmp_path / "bad")]) == 1
    assert "3 of 3 samples of dpm-solver++ 2M are not finite" in capsys.readouterr().err
    (file,) = (tmp_path / "bad").glob("*.pt")
    assert torch.load(file, weights_only=True)["failed"].tolist() == [True] * 3
    (child,) = [r for r in children(at, parent) if r.info.run_id not in before]
    assert (child.info.status, child.data.metrics["failed"]) == ("FAILED", 3.0)
    assert "not finite" in child.data.tags["error"]
    assert len(artifacts(child)) == 2


def test_a_checkpoint_of_an_unknown_run_is_sampled_but_not_recorded(at, tmp_path, monkeypatch, capsys):
    path = checkpoint(at, "plain")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    assert main(["sample", "--ckpt", path, "--nfe", "2", "--n", "2", "--out", str(tmp_path)]) == 0
    assert "not recorded" in capsys.readouterr().out
    assert list(tmp_path.glob("*.png"))


# ------------------------------------------------------------------ evaluations


def evaluate(*options, out):
    return main(["evaluate", *options, "--out", str(out)])


def test_a_sweep_scores_every_cell_and_leaves_curve_and_pictures(at, tmp_path, capsys):
    parent = named(at, "plain")
    before = {r.info.run_id for r in children(at, parent)}
    sweep = ["--samples.samplers", "[ddim,pndm,unipc]", "--samples.nfe", "[2,14]", "--samples.n", "24"]
    code = evaluate("--run", "plain", "--with", "samples", *sweep, out=tmp_path)
    said = capsys.readouterr().out
    assert code == 0, said
    assert "left out: pndm needs at least NFE" in said
    (folder,) = tmp_path.iterdir()
    with (folder / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells = [("ddim", "2"), ("ddim", "14"), ("pndm", "14"), ("unipc", "2"), ("unipc", "14")]
    assert [(row["sampler"], row["nfe"]) for row in rows] == cells
    assert {row["n"] for row in rows} == {"24"}
    (headline,) = [
        name for name in rows[0] if name.startswith("FD-") and not name.endswith(("_floor", "_deviation"))
    ]
    files = {"samples.csv", "quality_nfe.png", "side_by_side.png"}
    assert {p.name for p in folder.iterdir()} == files
    assert {f"evaluations/{folder.name}/{f}" for f in files} <= artifacts(named(at, "plain"))
    new = [r for r in children(at, parent) if r.info.run_id not in before]
    assert len(new) == len(cells)
    for child in new:
        assert (child.data.tags["role"], child.data.tags["evaluation"]) == ("evaluation", "samples")
        assert child.data.metrics[headline] > 0
        assert child.data.metrics[f"{headline}_floor"] == float(rows[0][f"{headline}_floor"])
        assert artifacts(child) >= {"figures/samples.png", "record.json"}
        assert not [name for name in child.data.metrics if quantities.find(name) is None]


def test_scores_of_several_sampling_seeds_are_one_value_for_a_model(at, tmp_path, capsys):
    """Mean and deviation are those of the seeds one by one; the floor has a deviation over splits."""
    sweep = [
        "--samples.samplers",
        "Euler",
        "--samples.nfe",
        "4",
        "--samples.n",
        "50",
        "--samples.splits",
        "3",
    ]
    found = []
    for options in (["--samples.seed", "7"], ["--samples.seed", "8"], ["--samples.seed", "7", "--samples.seeds", "2"]):  # fmt: skip
        out = tmp_path / str(len(found))
        assert evaluate("--run", "flow", "--with", "samples", *sweep, *options, out=out) == 0
        (table,) = out.rglob("samples.csv")
        (row,) = csv.DictReader(table.open())
        found.append({k: float(v) for k, v in row.items() if k.startswith("sliced_w2") and v})
    one, two, both = found
    assert both["sliced_w2"] == pytest.approx((one["sliced_w2"] + two["sliced_w2"]) / 2, rel=1e-9)
    spread = abs(one["sliced_w2"] - two["sliced_w2"]) / 2**0.5
    assert both["sliced_w2_deviation"] == pytest.approx(spread, rel=1e-6)
    assert "sliced_w2_deviation" not in one
    assert both["sliced_w2_floor"] == one["sliced_w2_floor"]
    assert 0 < one["sliced_w2_floor_deviation"] < one["sliced_w2_floor"]
    assert "over 3 splits" in capsys.readouterr().out
    assert evaluate("--run", "flow", "--with", "samples", "--samples.seeds", "0", out=tmp_path) == 2


def test_a_sweep_is_compared_like_any_other(at, tmp_path, capsys):
    sweep = ["--samples.samplers", "[Euler,RK4]", "--samples.nfe", "[4,8]", "--samples.n", "50"]
    assert evaluate("--run", "flow", "--with", "samples", *sweep, out=tmp_path) == 0
    (folder,) = tmp_path.iterdir()
    with Image.open(folder / "side_by_side.png") as picture:
        assert picture.info["Description"] == "The same samples by Euler, RK4 at NFE [4, 8]."
    chosen = Selection("integrand", runs=(named(at, "flow").info.run_id,), evaluation="samples")
    found = {(r.evaluation["settings"]["sampler"], r.cost["sample_nfe"]): r for r in load(chosen).records}
    assert set(found) == {("Euler", 4), ("Euler", 8), ("RK4", 4), ("RK4", 8)}
    run = found["RK4", 8]
    assert (run.family, run.monitor) == ("flow-matching", {"name": "sliced_w2", "mode": "min"})
    capsys.readouterr()
    options = [
        "--runs",
        named(at, "flow").info.run_id,
        "--evaluation",
        "samples",
        "--out",
        str(tmp_path / "c"),
    ]
    assert main(["compare", "--experiment", "integrand", *options]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "sliced_w2" in said
    assert "sampler=RK4" in said
    assert (tmp_path / "c" / "quality_sample_nfe.png").exists()
    assert main(["compare", "--experiment", "integrand", "--evaluation", "nothing"]) == 2
    assert "integrand evaluate --run ID --with nothing comes first" in capsys.readouterr().err


def test_points_are_drawn_over_data_and_what_is_not_seen_is_counted():
    points = np.array([[0.0, 0.0], [np.nan, 1.0], [9.0, 0.0], [np.inf, 0.0], [1.0, 1.0]])
    data = np.array([[-1.0, 1.0], [1.0, -1.0]])
    for given, text in (
        (data, "5 samples over data (grey), 1 outside, 2 not finite"),
        (None, "5 samples, 2 not finite"),
    ):
        assert scatter(points, given).description == text


def test_a_sweep_keeps_what_was_done_when_samples_fail(at, tmp_path, capsys):
    path = spoiled(at, tmp_path)
    parent = named(at, "plain")
    before = {r.info.run_id for r in children(at, parent)}
    out = tmp_path / "sweep"
    sweep = ["--samples.samplers", "ddim", "--samples.nfe", "[2,3]", "--samples.n", "20"]
    assert evaluate("--ckpt", path, "--with", "samples", *sweep, out=out) == 1
    assert "2 of 2 settings of samples failed" in capsys.readouterr().err
    (folder,) = out.iterdir()
    with (folder / "samples.csv").open() as file:
        assert [row["failed"] for row in csv.DictReader(file)] == ["20.0", "20.0"]
    assert (folder / "quality_nfe.png").exists()
    new = [r for r in children(at, parent) if r.info.run_id not in before]
    assert [(r.info.status, r.data.metrics["failed"]) for r in new] == [("FAILED", 20.0)] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--run", "plain", "--samples.samplers", "pndm", "--samples.nfe", "5"],
            "nothing to sample at NFE 5",
        ),
        (["--run", "plain", "--samples.samplers", "[ddim,nothing]"], "there is no sampler 'nothing'"),
        (["--run", "plain", "--samples.n", "3"], "too few to score"),
        (["--run", "plain", "--samples.nfee", "3"], "--samples.nfee, did you mean samples.nfe?"),
        (["--run", "plain", "--samples.guidance", "2"], "unconditional"),
        (["--run", "flow", "--samples.samplers", "ddim"], "Lipman is no diffusion process"),
        (["--run", "classifier"], "samples does not fit ResNet: it generates nothing"),
    ],
)
def test_an_evaluation_that_makes_no_sense_is_refused(at, capsys, options, message):
    count = len(runs(at))
    assert main(["evaluate", "--with", "samples", *options]) == 2
    assert message in capsys.readouterr().err
    assert len(runs(at)) == count


def test_an_unknown_evaluation_is_one_line(at, capsys):
    assert main(["evaluate", "--run", "plain", "--with", "sampels"]) == 2
    assert "there is no evaluation 'sampels', did you mean samples?" in capsys.readouterr().err
    assert main(["evaluate", "--run", "plain", "--with", "sensitivity"]) == 2
    assert "there is no evaluation 'sensitivity', it is 'solver' now" in capsys.readouterr().err
    assert main(["evaluate", "--list"]) == 0
    assert "--samples.nfe (default [5, 10, 20, 50])" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--with", "ood", "--ood.sets", "cifar10"], "have shape (3, 32, 32), those of digits (1, 8, 8)"),
        (["--with", "corruption", "--corruption.kinds", "fogg"], "no corruption 'fogg', did you mean fog?"),
        (["--with", "adversarial", "--adversarial.eps", "-1"], "eps=-1.0 is no radius"),
        (["--with", "calibration", "--calibration.passes", "0"], "measure nothing"),
    ],
)
def test_a_classifier_is_not_measured_by_what_does_not_fit(at, capsys, options, message):
    count = len(runs(at))
    assert main(["evaluate", "--run", "classifier", *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert len(runs(at)) == count


def test_an_experiment_is_measured_once(at, tmp_path, capsys):
    command = ["--experiment", "integrand", "--with", "calibration,ood", "--ood.n", "20"]
    assert evaluate(*command, out=tmp_path) == 0
    assert "calibration left out: generation predicts nothing for a single input" in capsys.readouterr().err
    found = children(at, named(at, "classifier"))
    names = sorted(r.info.run_name for r in found)
    assert names == ["as trained", "fashion-mini entropy", "fashion-mini max-softmax", "temperature fitted"]
    assert all(r.data.metrics["sample_nfe"] > 0 for r in found)
    assert all(any(a.endswith(".png") for a in artifacts(r)) for r in found)
    assert evaluate(*command, out=tmp_path) == 0
    assert len(children(at, named(at, "classifier"))) == len(found)


def test_every_preset_is_a_sampler_and_every_kind_has_one(capsys):
    from integrand.diffusion import RePaint, Sampler, TimeGrid
    from integrand.evaluations.named import Named, presets
    from integrand.registry import subclasses

    made = {name: Named(Sampler, name, "sampler").make() for name in presets("sampler")}
    kinds = {
        c for c in subclasses(Sampler) if not c.__abstractmethods__ and c.__module__.startswith("integrand.")
    }
    # RePaint is made of an image
    assert kinds - {RePaint} == {type(s) for s in made.values()}
    assert all(isinstance(Named(TimeGrid, name, "grid").make(), TimeGrid) for name in presets("grid"))
    nested = (
        "{class_path: PredictorCorrector, init_args: {predictor: {class_path: DDIM, init_args: {eta: 1.0}}}}"
    )
    assert Named(Sampler, nested, "sampler").make().predictor.eta == 1.0
    # as older documents spell it
    assert Named(Sampler, "dpm-solver++-2m", "sampler").make().describe() == "dpm-solver++ 2M"
    assert main(["sample", "--list"]) == 0
    assert "dpm_solver_pp_2m" in capsys.readouterr().out
