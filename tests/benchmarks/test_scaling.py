"""The paper estimate's formulas in cases whose answers are known."""

import math

import pytest

from integrand.benchmarks.scaling import (
    Link,
    Training,
    efficiency,
    exchange_seconds,
    expected_maximum,
    step_seconds,
)

FREE = Link(math.inf, 0.0)


def test_expected_maximum_of_normal_values():
    """1/√π and 3/(2√π) are exact for two and three (David and Nagaraja, Order Statistics, 3rd ed., section 3.2)."""
    assert expected_maximum(1) == 0
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi), abs=1e-9)
    assert expected_maximum(3) == pytest.approx(1.5 / math.sqrt(math.pi), abs=1e-9)
    # Tippett (1925), table of the largest of n: 2.3439 for 64 by interpolation is within its last digits
    assert expected_maximum(64) == pytest.approx(2.344, abs=2e-3)


def test_a_ring_sends_almost_twice_the_gradient():
    link = Link(10.0, 0.5)
    assert exchange_seconds(1, 100.0, link) == 0
    assert exchange_seconds(2, 100.0, link) == pytest.approx(100 / 10 + 2 * 0.5)
    assert exchange_seconds(4, 100.0, link) == pytest.approx(1.5 * 100 / 10 + 6 * 0.5)


def test_nothing_is_lost_where_nothing_costs():
    training = Training(0.1, 1e6)
    assert efficiency(64, training, FREE, FREE, 8) == 1.0


def test_stragglers_and_overhead_add_to_a_step():
    training = Training(0.1, 1e6, variation=0.2, overhead=0.01)
    expected = 0.1 * (1 + 0.2 / math.sqrt(math.pi)) + 0.01
    assert step_seconds(2, training, FREE, FREE, 8) == pytest.approx(expected)


def test_the_exchange_hides_behind_the_backward_pass_and_no_further():
    link = Link(4e6, 0.0)  # 1 s for the gradient of 1e6 parameters over two GPUs
    shown = Training(3.0, 1e6, hidden=0.0)
    half = Training(3.0, 1e6, hidden=0.25)
    whole = Training(3.0, 1e6, hidden=1.0)
    seconds = [step_seconds(2, t, link, link, 8) for t in (shown, half, whole)]
    assert seconds == pytest.approx([4.0, 3.5, 3.0])


def test_a_ring_that_leaves_its_node_is_as_fast_as_its_slowest_link():
    training, slow = Training(1.0, 1e6), Link(1e6, 0.0)
    assert step_seconds(8, training, FREE, slow, 8) == 1.0
    assert step_seconds(16, training, FREE, slow, 8) == pytest.approx(1.0 + 2 * 15 / 16 * 4)
