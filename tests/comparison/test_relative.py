"""The mean corruption error relative to the plain ResNet."""

import pytest

from integrand.comparison.records.relative import RELATIVE, add_relative_errors


def made(make_run, family, seed, noise=None, **errors):
    record = make_run(family, seed)
    record.config = {"model": {"init_args": {"noise": noise}}}
    record.metrics = {f"corruption_error_{kind}": error for kind, error in errors.items()}
    record.metrics |= {"corruption_error": 0.5, "corruption_error_severity_1": 0.9}
    return record


def test_it_is_the_mean_of_ratios_and_not_the_ratio_of_means(make_run):
    reference = made(make_run, "resnet", 0, fog=0.2, snow=0.4)
    other = made(make_run, "neural-sde", 0, fog=0.1, snow=0.6)
    noisy = made(make_run, "resnet", 0, noise={"class_path": "Dropout"}, fog=0.3, snow=0.4)
    add_relative_errors([other, noisy, reference])
    assert reference.metrics[RELATIVE] == 1
    assert other.metrics[RELATIVE] == pytest.approx((0.5 + 1.5) / 2)
    assert noisy.metrics[RELATIVE] == pytest.approx((1.5 + 1) / 2)


def test_what_has_no_reference_gets_none(make_run):
    reference = made(make_run, "resnet", 0, fog=0.0, snow=0.4)
    faultless = made(make_run, "neural-sde", 0, fog=0.1, snow=0.6)
    another_seed = made(make_run, "neural-sde", 1, fog=0.1, snow=0.6)
    fewer_kinds = made(make_run, "neural-sde", 0, snow=0.6)
    add_relative_errors([reference, faultless, another_seed, fewer_kinds])
    for record in (reference, faultless, another_seed, fewer_kinds):
        assert RELATIVE not in record.metrics
