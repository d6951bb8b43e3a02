"""Series stay short, and whatever is left out, never their ends."""

import itertools

import pytest

from integrand.tracking.history import MAX_POINTS, History


def filled(n):
    history = History()
    for step in range(n):
        history.add("loss", step, step // 10, 0.5 * step, float(step) ** 2)
    return history


# the lengths round which a series is thinned while it grows: at 2, 3 and 4 times the limit
@pytest.mark.parametrize(
    "n", [1, 2, MAX_POINTS, MAX_POINTS + 1, *range(2 * MAX_POINTS - 1, 2 * MAX_POINTS + 4), 1501, 1502, 7777]
)
def test_first_and_last_points_are_kept(n):
    history = filled(n)
    (thinned,) = history.thinned().values()
    for points in (history.series("loss"), thinned):
        assert points[0] == [0, 0, 0.0, 0.0]
        assert points[-1] == [n - 1, (n - 1) // 10, 0.5 * (n - 1), (n - 1.0) ** 2]
        steps = [point[0] for point in points]
        assert steps == sorted(set(steps)), "in order, none twice"
        assert all(value == step**2 for step, _, _, value in points), "points as they were added"
    assert len(history.series("loss")) <= 2 * MAX_POINTS
    assert len(thinned) == min(n, len(history.series("loss")), MAX_POINTS)
    assert history.last == {"loss": (n - 1.0) ** 2}
    assert history.max_step == n - 1


def test_what_is_kept_is_spread_evenly():
    """No gap is wider than twice the stride, give or take the rounding, as long as nothing was dropped before."""
    (thinned,) = filled(2 * MAX_POINTS).thinned().values()
    gaps = {b[0] - a[0] for a, b in itertools.pairwise(thinned)}
    assert gaps == {2, 3}  # 999 intervals on 499: 2.002 each
