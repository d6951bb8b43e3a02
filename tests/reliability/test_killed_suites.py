"""Suites and sweeps that are killed, and cells of theirs: every cell is trained once, with the values of an undisturbed one."""

import pytest

from integrand.suites.launcher import LOST_RETRIES

pytestmark = pytest.mark.reliability

SUITE = """
name: killed
models: [neural_ode]
recipe: digits
seeds: [0, 1]
overrides:
  data.train_limit: 96
  model.channels: 4
  model.solver: {class_path: Midpoint, init_args: {step_size: 0.5}}
  trainer.max_epochs: 3
  trainer.log_every_n_steps: 1
  trainer.limit_val_batches: 1
"""
SWEEP = f"""{SUITE}
sweep:
  metric: val/loss
  n_trials: 2
  sampler: {{class_path: GridSampler}}
  space:
    model.optimizer.lr: [0.01, 0.001]
""".replace("seeds: [0, 1]", "seeds: [0]")
COMMANDS = {
    "suite": ["suite", "run", "s.yaml", "--jobs", "1"],
    "sweep": ["suite", "sweep", "s.yaml", "--jobs", "1"],
}
KILLS_PER_SUITE = 5


def name(run):
    """What tells a run of one suite, or one sweep, from the others."""
    return run.data.tags["run_key"], run.data.tags.get("param.model.optimizer.lr")


@pytest.mark.parametrize("what", COMMANDS)
def test_a_suite(what, story, victim, rng, tally, bit_equal, clock, kills, pace):
    if what == "sweep":
        pytest.importorskip("optuna")

    def begin():
        place = victim()
        (place.folder / "s.yaml").write_text(SUITE if what == "suite" else SWEEP)
        return place

    command, plain = COMMANDS[what], begin()
    began = clock()
    code, said = plain.run(*command)
    seconds = clock() - began
    assert code == 0, said
    expected = {name(run): plain.finished(run) for run in plain.runs()}
    assert len(expected) == 2
    pace = pace(seconds, **{word: plain.changes(word) for word in ("suite", "fit")})
    counts = tally[f"{what} killed: {story}"]
    left = kills
    while left > 0:
        place = begin()
        for number in range(KILLS_PER_SUITE):
            # a trial that is killed once more than that has failed
            spared = ["fit"] if what == "sweep" and number >= LOST_RETRIES else []
            code, ended = place.disturbed(command, story, rng, pace, number, spared)
            assert "Traceback" not in place.said, place.said
            counts["kills"] += ended
            left -= ended
            if code == 0 or left <= 0:
                break
        # the cell of a killed command goes on by itself, and the commands above left it alone
        place.left_alone()
        code, said = place.run(*command)
        assert code == 0, said
        # each cell once: what a killed command left at work is not done again
        ended = [run for run in place.runs() if run.info.status == "FINISHED"]
        assert sorted(map(name, ended)) == sorted(expected)
        for run in ended:
            bit_equal(place.finished(run), expected[name(run)])
        assert not [run for run in place.runs() if run.info.status == "RUNNING"]
        counts[f"{what}s bit-equal"] += 1
