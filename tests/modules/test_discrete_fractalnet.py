"""FractalNet: its expansion rule and the subnetworks that drop-path draws."""

from collections import Counter

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules import FractalNet
from integrand.solvers import count
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
H = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
ZERO = torch.zeros(())


def build(**kwargs):
    # a head that is the same function in training
    torch.manual_seed(0)
    return FractalNet(SPEC, channels=6, head="none", **kwargs).double()


def unit(dynamics, column, number, block=0):
    field = dynamics.units[f"block{block}_column{column}_unit{number}"]
    return lambda y: field(ZERO, y)


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, t, y):
        return self.factor * y


def scaled(dynamics, factor_of_column):
    """Every unit of column c multiplies by a number of its own."""
    for name in list(dynamics.units):
        dynamics.units[name] = Scale(factor_of_column(int(name.split("column")[1][0])))
    return dynamics


def test_one_column_is_a_plain_chain_of_convolutions():
    dynamics = build(columns=1, blocks=3).eval().net.dynamics
    expected = H
    for n in range(3):
        expected = unit(dynamics, 0, 0, block=n)(expected)
    assert torch.equal(dynamics(H).ys[-1], expected)


def test_two_columns_are_the_first_expansion():
    """f_2 = mean(f_1 ∘ f_1, conv)."""
    dynamics = build(columns=2, blocks=1).eval().net.dynamics
    deep = unit(dynamics, 1, 1)(unit(dynamics, 1, 0)(H))
    # the same three convolutions; a mean of two may be rounded once
    torch.testing.assert_close(
        dynamics(H).ys[-1], (deep + unit(dynamics, 0, 0)(H)) / 2, rtol=1e-14, atol=1e-14
    )


def test_three_columns_are_the_second_expansion():
    """f_3 joins conv with f_2 ∘ f_2, whose own last join is the same join: a mean of three."""
    dynamics = build(columns=3, blocks=1).eval().net.dynamics
    middle = (unit(dynamics, 1, 0)(H) + unit(dynamics, 2, 1)(unit(dynamics, 2, 0)(H))) / 2
    last = unit(dynamics, 1, 1)(middle), unit(dynamics, 2, 3)(unit(dynamics, 2, 2)(middle))
    expected = (unit(dynamics, 0, 0)(H) + last[0] + last[1]) / 3
    torch.testing.assert_close(dynamics(H).ys[-1], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
def test_units_and_longest_path_grow_by_the_expansion_rule(columns):
    """2^C − 1 units, the longest path 2^{C−1}: a factor 2 in the deepest column and 0 elsewhere is 2^{path}."""
    dynamics = build(columns=columns, blocks=1).eval().net.dynamics
    with count(*dynamics.residuals()) as seen:
        solution = dynamics(H)
    assert len(dynamics.residuals()) == seen.calls == solution.stats.nfe_forward == 2**columns - 1
    scaled(dynamics, lambda c: 2.0 if c == columns - 1 else 0.0)
    dynamics.training, dynamics.drop_path, dynamics.draw_column = True, "global", lambda: columns - 1
    assert torch.equal(dynamics(H).ys[-1], 2.0 ** (2 ** (columns - 1)) * H)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_global_path_is_the_plain_column(column):
    dynamics = build(columns=3, blocks=2, drop_path="global").train().net.dynamics
    dynamics.draw_column = lambda: column
    expected = H
    for block in range(2):
        for number in range(2**column):
            expected = unit(dynamics, column, number, block)(expected)
    solution = dynamics(H)
    assert torch.equal(solution.ys[-1], expected)
    assert solution.stats.nfe_forward == 2 * 2**column


def test_joins_of_identical_branches_are_the_identity():
    """Units that multiply by a^{rows spanned} make all columns equal, dropped or not: the result is a^{rows} x."""
    dynamics = build(columns=4, blocks=1, drop_path="local", drop_rate=0.5).net.dynamics
    scaled(dynamics, lambda c: 0.9 ** (8 // 2**c))
    torch.manual_seed(0)
    for training in (False, True, True, True):
        # at most 8 products and means, each rounded once
        torch.testing.assert_close(dynamics.train(training)(H).ys[-1], 0.9**8 * H, rtol=1e-14, atol=0)


def test_a_join_never_loses_all_of_its_inputs():
    dynamics = build(drop_path="local", drop_rate=1.0).train().net.dynamics
    torch.manual_seed(0)
    seen = Counter(tuple(dynamics.draw_inputs([0, 1, 2])) for _ in range(3000))
    assert set(seen) == {(0,), (1,), (2,)}
    # each a third: 1000 with standard deviation 26
    assert all(abs(n - 1000) < 5 * 26 for n in seen.values())
    assert dynamics.draw_inputs([2]) == [2]


def test_local_drop_path_drops_at_its_rate():
    """A join of two keeps an input with probability (1 − p) + p²/2."""
    p, draws = 0.3, 20_000
    dynamics = build(drop_path="local", drop_rate=p).train().net.dynamics
    torch.manual_seed(0)
    kept = sum(0 in dynamics.draw_inputs([0, 1]) for _ in range(draws)) / draws
    # standard deviation √(0.745 · 0.255 / 20 000) = 0.0031
    assert kept == pytest.approx(1 - p + p**2 / 2, abs=5 * 0.0031)


def test_global_drop_path_draws_every_column_alike_and_mixed_at_its_ratio():
    module = build(columns=4, drop_path="global")
    torch.manual_seed(0)
    seen = Counter(module.net.dynamics.draw_column() for _ in range(4000))
    assert set(seen) == {0, 1, 2, 3}
    assert all(abs(n - 1000) < 5 * 27.4 for n in seen.values())  # √(4000 · ¼ · ¾) = 27.4
    mixed = build(columns=4, drop_path="mixed", global_ratio=0.2).net.dynamics
    torch.manual_seed(0)
    share = sum(mixed.draw_column() is not None for _ in range(10_000)) / 10_000
    assert share == pytest.approx(0.2, abs=5 * 0.004)  # √(0.2 · 0.8 / 10 000)


def test_a_dropped_branch_is_neither_evaluated_nor_trained(accounts):
    module = build(columns=3, blocks=2, drop_path="global").train()
    module.net.dynamics.draw_column = lambda: 1
    module(X).sum().backward()
    stats = accounts(module)[0]
    assert stats.nfe_forward == stats.vjps == 4
    trained = {n for n, p in module.net.dynamics.units.named_parameters() if p.grad is not None}
    assert trained == {n for n, _ in module.net.dynamics.units.named_parameters() if "column1" in n}


@pytest.mark.parametrize("drop_path", ["none", "local", "global", "mixed"])
def test_evaluation_uses_the_whole_net_and_repeats_itself(drop_path, accounts):
    module = build(drop_path=drop_path, drop_rate=0.5).eval()
    assert torch.equal(module(X), module(X))
    assert torch.equal(module(X), build(drop_path="none")(X))
    assert accounts(module)[0].nfe_forward == 2 * 7


def test_one_seed_draws_one_subnetwork():
    module = build(drop_path="mixed", drop_rate=0.5).train()
    outputs = []
    for seed in (3, 3, *range(10, 20)):
        torch.manual_seed(seed)
        outputs.append(module(X))
    assert torch.equal(outputs[0], outputs[1])
    assert any(not torch.equal(outputs[0], other) for other in outputs[2:])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"drop_path": "both"}, "unknown drop_path 'both' → .*none, local, global, mixed"),
        ({"drop_rate": 1.5}, "drop_rate must lie between 0 and 1, got 1.5"),
        ({"global_ratio": -0.1}, "global_ratio must lie between 0 and 1"),
        ({"columns": 0}, "columns must be at least 1"),
        ({"blocks": 0}, "blocks must be at least 1"),
    ],
)
def test_values_outside_their_domain_are_refused(option, message):
    with pytest.raises(UsageError, match=message):
        build(**option)
