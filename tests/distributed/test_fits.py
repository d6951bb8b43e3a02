"""Fits of two processes through the real program, and what MLflow then holds."""

import contextlib
import signal
import time

import psutil
import pytest

DIGITS = ["--data", "Digits", "--data.train_limit", "256"]
"""With augmentation, which is drawn by image and epoch, so that it is the same however many share the work."""
TWO = ["--trainer.strategy", "ddp", "--trainer.devices", "2"]


def fit(*arguments):
    return ["fit", "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1", *arguments]


def await_checkpoint(program, process):
    deadline = time.monotonic() + 120
    while not any(program.folder.glob("**/last.ckpt")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.2)


def series(program, run, name):
    return [
        (p.step, p.value)
        for p in sorted(program.client.get_metric_history(run.info.run_id, name), key=lambda p: p.step)
    ]


@pytest.mark.slow  # gradients of two processes are compared in test_agreement and test_gradients
@pytest.mark.parametrize(
    ("model", "names"),
    [
        (
            # one row more than whole batches: a step in which one of the two has none
            ["--model", "ResNet", "--model.channels", "4", "--model.head", "group", *DIGITS[:-1], "257"],
            ["train/loss", "val/loss", "val/acc"],
        ),
        pytest.param(
            ["--model", "FlowMatching", "--data", "TwoMoons", "--data.train_size", "512"],
            ["val/loss", "val/sliced_w2", "val/mmd2", "val/straightness"],
            marks=pytest.mark.cluster,
        ),
    ],
    ids=["resnet", "flow-matching"],
)
def test_two_processes_train_as_one_does_with_twice_the_batch(program, model, names):
    found = {}
    for experiment, size, more in (("one", 64, []), ("two", 32, TWO)):
        done = program(
            *fit(*model, "--data.batch_size", str(size), "--trainer.max_epochs", "2", *more),
            *("--trainer.logger.experiment", experiment),
        )
        assert done.returncode == 0, done.stderr
        (found[experiment],) = program.runs(experiment)
        assert found[experiment].info.status == "FINISHED"
    one, two = found["one"], found["two"]
    if "ResNet" in model:
        for name in names:
            pairs = list(zip(series(program, one, name), series(program, two, name), strict=True))
            assert len(pairs) == 2
            for (step, expected), (other, value) in pairs:
                assert step == other
                # float32 sums in another order, grown over 10 steps of training
                assert value == pytest.approx(expected, rel=1e-3), name
        # every process evaluates as often as the one did, and both are counted
        total = "solver/nfe_forward_total"
        assert two.data.metrics[total] == 2 * one.data.metrics[total] > 0
        pictures = [{p.name for p in program.artifacts(run).glob("figures/*")} for run in (one, two)]
        assert pictures[0] == pictures[1] >= {"loss.png", "confusion_val.png"}
    else:
        # the noise of training is drawn by each process for itself: close in law, not in value
        for name in names:
            assert two.data.metrics[name] == pytest.approx(one.data.metrics[name], rel=0.5, abs=0.2), name


@pytest.mark.cluster
def test_scores_of_samples_are_those_of_one_process(program):
    """The same weights, tested by one process and by two: samples follow from seed and index alone."""
    small = [
        "--model",
        "FlowMatching",
        "--data",
        "TwoMoons",
        "--data.train_size",
        "512",
        "--data.test_size",
        "501",
    ]
    assert (
        program(*fit(*small, "--trainer.max_epochs", "1", "--trainer.logger.experiment", "made")).returncode
        == 0
    )
    (run,) = program.runs("made")
    checkpoint = program.artifacts(run) / "checkpoints" / "last.ckpt"
    scores = []
    for more in ([], TWO):
        name = f"tested-{len(scores)}"
        done = program(
            *("test", "--ckpt_path", checkpoint, "--trainer.accelerator", "cpu", *more),
            *("--trainer.logger.experiment", name),
        )
        assert done.returncode == 0, done.stderr
        (tested,) = program.runs(name)
        scores.append({k: v for k, v in tested.data.metrics.items() if k.startswith("test/")})
    one, two = scores
    assert set(one) == set(two)
    # its noise and times are drawn by batch, and batches are other ones: the same in law
    assert two["test/loss"] == pytest.approx(one["test/loss"], rel=0.1)
    for name in ("test/sliced_w2", "test/w2", "test/mmd2", "test/nll", "test/straightness"):
        # the mean of two unequal shares' means would be off by 1/501 of the spread
        assert two[name] == pytest.approx(one[name], rel=1e-4, abs=1e-6), name


@pytest.mark.cluster
def test_a_net_that_leaves_out_parts_trains_by_plain_ddp(program):
    done = program(
        *fit("--model", "FractalNet", "--model.channels", "4", *DIGITS, "--trainer.max_epochs", "1", *TWO)
    )
    assert done.returncode == 0, done.stderr
    assert program.only_run().info.status == "FINISHED"


@pytest.mark.slow
def test_a_lost_process_ends_the_run_failed(program):
    process = program.start(*fit("--model", "ResNet", *DIGITS, "--trainer.max_epochs", "100000", *TWO))
    await_checkpoint(program, process)
    (child,) = [c for c in psutil.Process(process.pid).children(recursive=True) if "fit" in c.cmdline()]
    child.send_signal(signal.SIGKILL)  # as the kernel does when memory runs out
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "integrand: error: another process of this fit was lost" in errors
    assert "integrand fit --resume" in errors
    run = program.only_run()
    assert run.info.status == "FAILED"
    assert run.data.tags["error_type"] == "LostProcessError"
    with contextlib.suppress(psutil.NoSuchProcess):
        assert child.status() == psutil.STATUS_ZOMBIE


FAILING = """
from integrand.modules import ResNet

class Failing(ResNet):
    family = ""

    def training_step(self, batch, batch_idx):
        if self.trainer.global_rank == 1 and self.trainer.global_step == 2:
            raise ValueError("made to fail")
        return super().training_step(batch, batch_idx)
"""


@pytest.mark.slow
def test_an_error_in_another_process_is_what_the_user_is_told(program):
    """The first process itself sees a closed connection only."""
    (program.folder / "failing.py").write_text(FAILING)
    done = program(*fit("--model", "failing.Failing", *DIGITS, "--data.batch_size", "32", *TWO))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "integrand: error: another process of this fit failed: process 1: ValueError: made to"
    )
    run = program.only_run()
    assert run.info.status == "FAILED"
    assert run.data.tags["error_type"] == "ValueError"
    assert run.data.tags["error"] == "made to fail (process 1)"
    assert "made to fail" in (program.artifacts(run) / "error" / "traceback-rank-1.txt").read_text()


@pytest.mark.slow
def test_a_run_whose_first_process_is_lost_is_ended_by_another(program):
    """It alone writes to the run; what it had spooled is sent, and nothing stays RUNNING."""
    process = program.start(*fit("--model", "ResNet", *DIGITS, "--trainer.max_epochs", "100000", *TWO))
    await_checkpoint(program, process)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=120)  # ends when the other one has closed the pipes too
    assert "integrand: error: another process of this fit was lost" in errors
    run = program.only_run()
    assert run.info.status == "FAILED"
    assert run.data.tags["error_type"] == "LostProcessError"
    assert run.data.tags["status"] == "failed"
    assert not list((program.folder / "integrand-runs" / "spool").glob("*/points.jsonl"))
    assert series(program, run, "train/loss")


@pytest.mark.cluster
def test_two_processes_go_on_as_if_nothing_had_happened(program):
    """Stochastic depth draws on each process, and its state of both is in the checkpoint."""
    noise = ["--model", "ResNet", "--model.channels", "4", "--model.noise", "StochasticDepth", *DIGITS, *TWO]
    for experiment, epochs in (("whole", 4), ("parts", 2)):
        done = program(
            *fit(*noise, "--trainer.max_epochs", str(epochs), "--trainer.logger.experiment", experiment)
        )
        assert done.returncode == 0, done.stderr
    (part,) = program.runs("parts")
    done = program("fit", "--resume", part.info.run_id, "--trainer.max_epochs", "4")
    assert done.returncode == 0, done.stderr
    (whole,), (part,) = program.runs("whole"), program.runs("parts")
    for name in ("train/loss", "train/loss_step", "val/loss"):
        assert series(program, part, name) == series(program, whole, name), name
