"""Gradients of two DDP processes against one process at the same global batch, for every family and mode.

All cases go through one pair of processes (`gradients.py`): importing torch twice costs more than they do.
"""

import json

import pytest


@pytest.fixture
def compared(cases, run_pair, tmp_path):
    """What the two processes found, by name of the case."""

    def compare(names):
        run_pair("gradients.py", ",".join(names), tmp_path / "found.json", timeout=1500)
        found = json.loads((tmp_path / "found.json").read_text())
        assert set(found) == set(names)
        return found

    return compare


def wrong(case, found):
    """What is wrong with the result of a case; empty if nothing is."""
    if "failed" in found:
        return found["failed"]
    problems = [] if found["scale"] > 0 else ["all gradients are zero"]
    if not found["equal"]:
        problems.append("the processes hold different gradients")
    if not found["error"] <= case.tolerance:
        problems.append(f"error {found['error']:.2e} > {case.tolerance:.0e} {found.get('missing', '')}")
    forward, backward = found["single"]
    total = found["total"]
    if case.drawn:
        # one process saw the two halves one after the other
        expected = total == [forward, backward]
    elif not case.adaptive:
        # each process evaluates the field as often as one would on the whole batch
        expected = total == [2 * forward, 2 * backward]
    else:
        # other steps, but not many more or fewer; each process's own are in the sum
        expected = total[0] > found["nfe"][0] > 0 and abs(total[0] - 2 * forward) <= forward
    if not expected:
        problems.append(f"evaluations {total} of both, {found['single']} of one")
    return "; ".join(problems)


@pytest.mark.slow
def test_every_family_in_every_gradient_mode(cases, compared):
    results = compared(list(cases.CASES))
    problems = {name: wrong(cases.CASES[name], found) for name, found in results.items()}
    problems = {name: text for name, text in problems.items() if text}
    assert not problems, "\n".join(f"{name}: {text}" for name, text in problems.items())
