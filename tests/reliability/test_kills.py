"""Killed anywhere, gone on with, killed again: in the end it is as if nothing had happened, bit for bit."""

import pytest

pytestmark = pytest.mark.reliability

TINY = ["--trainer.max_epochs", "5", "--trainer.log_every_n_steps", "1", "--trainer.limit_train_batches", "3"]
LIMITS = ["--trainer.limit_val_batches", "1"]
DIGITS = ["--data", "Digits", "--data.train_limit", "192"]
HALVES = ["--model.solver", "Midpoint", "--model.solver.step_size", "0.5"]
FITS = {
    "classifier": ["--model", "NeuralODE", *DIGITS, "--model.channels", "4", *HALVES],
    "stochastic": ["--model", "NeuralSDE", *DIGITS, "--model.channels", "4"],
    "generative": ["--model", "FlowMatching", "--data", "TwoMoons", "--data.train_size", "512"],
    "trajectory": ["--model", "HamiltonianNN", "--data", "Spring"],
}
KILLS_PER_RUN = 5


@pytest.fixture(scope="module")
def undisturbed(victim, clock, pace):
    """How each fit ends if it is left alone, and what that needs."""
    found = {}

    def fit(kind):
        if kind not in found:
            place = victim()
            began = clock()
            code, said = place.run("fit", *FITS[kind], *TINY, *LIMITS)
            assert code == 0, said
            seconds = clock() - began
            (run,) = place.runs()
            found[kind] = (place.finished(run), pace(seconds, fit=place.changes("fit")))
        return found[kind]

    return fit


def again(place):
    """What a user does next: goes on with the newest run; None where there is nothing to go on with."""
    for run in place.runs()[:1]:
        if list(place.folder.glob(f"mlartifacts/*/{run.info.run_id}/artifacts/checkpoints/last.ckpt")):
            return ["fit", "--resume"]
    return None


@pytest.mark.parametrize("kind", FITS)
def test_a_fit(kind, story, undisturbed, victim, rng, tally, bit_equal, kills):
    wanted = -(-kills // len(FITS))
    expected, pace = undisturbed(kind)
    counts = tally[f"fit killed: {story}"]
    while wanted > 0:
        place = victim()
        fresh = ["fit", *FITS[kind], *TINY, *LIMITS]
        for number in range(KILLS_PER_RUN):
            code, ended = place.disturbed(again(place) or fresh, story, rng, pace, number)
            assert code == 0 or ended, place.said
            counts["kills"] += ended
            wanted -= ended
            if code == 0 or wanted <= 0:
                break
        if code != 0:
            code, said = place.run(*(again(place) or fresh))
            assert code == 0, said
        newest = place.runs()[0]
        assert newest.info.status == "FINISHED"
        assert place.run("sync")[0] == 0, place.said
        bit_equal(place.finished(newest), expected)
        assert not [run for run in place.runs() if run.info.status == "RUNNING"]
        assert not list((place.folder / "integrand-runs/spool").glob("*"))
        counts["runs bit-equal"] += 1
