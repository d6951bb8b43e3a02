"""Metrics in feature space: closed forms, identities, torchmetrics, and the frozen classifier."""

import math

import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance

from integrand.datamodules import Digits
from integrand.errors import SpecError, UsageError
from integrand.metrics import (
    FeatureNet,
    InceptionFeatures,
    density_coverage,
    extractor,
    frechet_distance,
    frechet_of_moments,
    inception_distance,
    kernel_distance,
    precision_recall,
)
from integrand.metrics.classifier import digest_of
from integrand.metrics.inception import enlarged, weights
from integrand.modules.generative.image_evaluation import ImageEvaluation


def normal(n, d, seed, **kwargs):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64, **kwargs)


def test_frechet_distance_of_gaussians_is_the_closed_form():
    """For commuting covariances: ‖μ‖² + Σ (s_i − r_i)² of the deviations."""
    s, r = torch.tensor([1.0, 2.0, 0.5]).double(), torch.tensor([0.5, 2.5, 0.5]).double()
    mean = torch.tensor([1.0, 0.0, -2.0]).double()
    found = frechet_of_moments(mean, torch.diag(s**2), 0 * mean, torch.diag(r**2))
    assert found == pytest.approx(float(mean.square().sum() + (s - r).square().sum()), abs=1e-10)
    # the same in a rotated basis
    q, _ = torch.linalg.qr(normal(3, 3, 0))
    turned = frechet_of_moments(q @ mean, q @ torch.diag(s**2) @ q.T, 0 * mean, q @ torch.diag(r**2) @ q.T)
    assert turned == pytest.approx(found, abs=1e-9)


def test_frechet_distance_of_samples_nears_it():
    a, b = normal(20_000, 4, 0), 1.5 * normal(20_000, 4, 1) + 1
    # 4 (1 − 1.5)² + 4; sampling error of means and deviations about 4 · 2/√20000
    assert frechet_distance(a, b) == pytest.approx(5.0, abs=0.1)


def test_frechet_distance_of_one_feature_and_of_fewer_points_than_features():
    assert frechet_distance(normal(50, 1, 0), normal(50, 1, 0)) == pytest.approx(0, abs=1e-12)
    few = normal(5, 8, 0)  # singular covariances
    assert frechet_distance(few, few + 1) == pytest.approx(8, abs=1e-6)


def test_frechet_distance_is_that_of_torchmetrics():
    torch.manual_seed(0)
    net = FeatureNet((1, 8, 8), 10).eval()
    oracle = FrechetInceptionDistance(feature=net, input_img_size=(1, 8, 8), normalize=False)
    # in float64, so that both round alike
    oracle, net = oracle.set_dtype(torch.float64), net.double()
    oracle.inception = net
    images = [torch.rand(200, 1, 8, 8, dtype=torch.float64) ** power for power in (1, 2)]
    oracle.update(images[0], real=True)
    oracle.update(images[1], real=False)
    with torch.no_grad():
        found = frechet_distance(net(images[1]), net(images[0]))
    assert found == pytest.approx(float(oracle.compute()), rel=1e-4)


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_distances_are_zero_for_equal_sets_and_grow_with_a_shift(distance):
    a, b = normal(600, 5, 0), normal(600, 5, 1)
    assert distance(a, a) == pytest.approx(0, abs=0.05)
    assert abs(distance(a, b)) < 0.1 < distance(a + 1, b) < distance(a + 2, b)


def test_kernel_distance_is_unbiased_and_ignores_the_scale_of_features():
    values = [kernel_distance(normal(100, 3, 2 * k), normal(100, 3, 2 * k + 1)) for k in range(60)]
    mean = sum(values) / 60
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / 59 / 60)
    assert abs(mean) < 4 * error
    a, b = normal(200, 3, 0) + 0.3, normal(200, 3, 1)
    scale = torch.tensor([1.0, 100.0, 1e-3]).double()
    assert kernel_distance(a * scale + 5, b * scale + 5) == pytest.approx(kernel_distance(a, b), rel=1e-9)


def test_kernel_distance_is_its_definition():
    a, b = normal(7, 2, 0), normal(9, 2, 1)
    x, y = ((z - b.mean(0)) / b.std(0) for z in (a, b))

    def k(u, v):
        return float(u @ v / 2 + 1) ** 3

    xx = sum(k(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / 42
    yy = sum(k(y[i], y[j]) for i in range(9) for j in range(9) if i != j) / 72
    xy = sum(k(u, v) for u in x for v in y) / 63
    assert kernel_distance(a, b) == pytest.approx(xx + yy - 2 * xy, rel=1e-12)


def test_identical_sets_have_full_precision_recall_and_coverage():
    a = normal(1500, 4, 0)  # more than one block of rows
    assert precision_recall(a, a) == (1.0, 1.0)
    density, coverage = density_coverage(a, a)
    assert coverage == 1.0
    # each point lies in its own ball and, on average, in k others' balls
    assert density == pytest.approx(6 / 5, abs=0.01)


def test_disjoint_sets_have_none():
    a, b = normal(100, 4, 0), normal(100, 4, 1) + 100
    assert precision_recall(a, b) == (0.0, 0.0)
    assert density_coverage(a, b) == (0.0, 0.0)


def test_dropped_modes_cost_recall_and_strays_cost_precision():
    two = torch.cat([normal(200, 2, 0), normal(200, 2, 1) + 50])
    one = normal(400, 2, 2)
    precision, recall = precision_recall(one, two)
    assert precision > 0.9
    assert 0.4 < recall <= 0.5
    assert density_coverage(one, two)[1] <= 0.5
    precision, recall = precision_recall(two, one)
    assert precision <= 0.5
    assert recall > 0.9


def test_features_that_cannot_be_compared_are_refused():
    for metric in (frechet_distance, kernel_distance, precision_recall, density_coverage):
        with pytest.raises(SpecError, match="shapes"):
            metric(torch.zeros(10, 3), torch.zeros(10, 4))
        with pytest.raises(SpecError, match="finite"):
            metric(torch.full((10, 3), torch.nan), torch.zeros(10, 3))
    with pytest.raises(SpecError, match="no 5 neighbours"):
        density_coverage(normal(5, 2, 0), normal(50, 2, 1))


# ---------------------------------------------------------------------- the classifier


@pytest.fixture(scope="module")
def digits():
    data = Digits(normalise="symmetric")
    data.prepare_data()
    data.setup()
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("extractors")


@pytest.fixture(scope="module")
def trained(digits, folder):
    return extractor(*digits.whole_train(), 10, folder)


def test_the_classifier_is_the_same_whatever_was_drawn_before(digits, trained, tmp_path):
    torch.manual_seed(1234)
    state = torch.get_rng_state()
    again = extractor(*digits.whole_train(), 10, tmp_path)
    assert again.digest == trained.digest == digest_of(trained.net)
    assert torch.equal(torch.get_rng_state(), state)
    assert extractor(*digits.whole_train(), 10, tmp_path, seed=1).digest != trained.digest


def test_it_classifies_unseen_digits(digits, trained):
    x, y = digits.some("test", 360)
    right = trained.net.classify(digits.denormalise(x)).argmax(1) == y
    # 90 % of other writers' digits, chance is 10 %
    assert float(right.double().mean()) > 0.8
    assert trained.accuracy > 0.95


def test_a_damaged_file_is_replaced(digits, trained, folder):
    (path,) = folder.glob("*.pt")
    good = path.read_bytes()
    for bad in (b"", good[:-1000], good.replace(trained.digest.encode(), b"00000000")):
        path.write_bytes(bad)
        assert extractor(*digits.whole_train(), 10, folder).digest == trained.digest
    assert torch.load(path, weights_only=True)["digest"] == trained.digest


def test_images_are_scored_under_the_digest_beside_a_floor(digits, trained, folder, monkeypatch):
    monkeypatch.setenv("INTEGRAND_CACHE", str(folder.parent / "cache"))
    evaluation = ImageEvaluation(num_samples=200)
    evaluation.prepare(digits)
    assert evaluation.extractor.digest == trained.digest
    reference, other = evaluation.split(digits.some("test", 10)[0])
    assert len(reference) == len(other) == 200
    assert not any(bool((reference == image).all(3).all(2).all(1).any()) for image in other[:20])
    floor = evaluation.compare(other, reference, True)
    assert set(floor) == {
        f"{name}-{trained.digest}" for name in ("FD", "KD", "precision", "recall", "density", "coverage")
    }
    noisy = other + 0.5 * torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
    worse = evaluation.compare(noisy, reference, True)
    assert worse[f"FD-{trained.digest}"] > 2 * floor[f"FD-{trained.digest}"]
    assert worse[f"KD-{trained.digest}"] > floor[f"KD-{trained.digest}"]
    few = ImageEvaluation(num_samples=10**6)
    few.prepare(digits)
    assert len(few.split(reference)[0]) == digits.sizes["n_train"] // 2


def test_fid_takes_the_weights_that_are_installed_and_downloads_none(monkeypatch, tmp_path):
    from integrand.metrics import inception

    monkeypatch.setattr(inception, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'integrand\[fid\]'"):
        InceptionFeatures()
    evaluation = ImageEvaluation(fid=True)  # as loading a checkpoint makes it, where no score is asked for
    with pytest.raises(UsageError, match=r"pip install 'integrand\[fid\]'"):
        evaluation.check()
    ImageEvaluation().check()
    (tmp_path / "default_1.pt").write_bytes(b"something else")
    monkeypatch.setattr(inception, "weights", lambda: tmp_path / "default_1.pt")
    with pytest.raises(UsageError, match="not the Inception that is known"):
        InceptionFeatures()


def test_fid_of_any_features_is_the_frechet_distance():
    torch.manual_seed(0)
    net = FeatureNet((1, 8, 8), 10).eval().requires_grad_(False)
    a, b = torch.rand(150, 1, 8, 8), torch.rand(150, 1, 8, 8) ** 2
    # torchmetrics sums float32 features in float64
    expected = frechet_distance(net(a), net(b))
    assert inception_distance(net, a, b) == pytest.approx(expected, rel=1e-3)


def test_images_are_enlarged_by_the_rule_of_tensorflow_1():
    """Pixel i of 7 reads at 3 i/7 of a row of 3, and the last pixel is repeated beyond the edge."""
    row = torch.tensor([0.0, 1.0, 4.0])
    expected = torch.tensor([0, 3 / 7, 6 / 7, 1 + 3 * 2 / 7, 1 + 3 * 5 / 7, 4, 4])
    image = row.view(1, 1, 1, 3) + 10 * row.view(1, 1, 3, 1)
    found = enlarged(image, 7)
    torch.testing.assert_close(found[0, 0], expected + 10 * expected[:, None])
    torch.testing.assert_close(enlarged(found, 7), found)  # nothing to do


@pytest.mark.skipif(weights() is None, reason="pip install 'integrand[fid]'")
def test_fid_of_installed_weights_is_a_distance():
    net = InceptionFeatures()
    assert sum(p.numel() for p in net.parameters()) == 21_802_784  # Inception-v3 without its last layer
    a, b = (torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(s)) ** (s + 1) for s in (0, 1))
    assert net(a).shape == (6, 2048)
    torch.testing.assert_close(net(a), net(a.expand(-1, 3, -1, -1)))
    there, back = inception_distance(net, a, b), inception_distance(net, b, a)
    # six images span five of 2048 directions, so torchmetrics' root of the product keeps three digits
    assert there == pytest.approx(back, rel=1e-2)
    assert there > 10 * abs(inception_distance(net, a, a))


def test_samples_are_rounded_to_the_grey_levels_of_the_data(digits, folder, monkeypatch):
    monkeypatch.setenv("INTEGRAND_CACHE", str(folder.parent / "cache"))
    evaluation = ImageEvaluation()
    evaluation.prepare(digits)
    x = digits.some("test", 5)[0]
    rounded = evaluation.pixels(x + 0.01)
    torch.testing.assert_close(rounded, digits.denormalise(x))
    assert float(evaluation.pixels(x + 9).max()) == 1.0


def test_an_evaluation_without_labelled_images_is_refused():
    with pytest.raises(UsageError, match="labelled images"):
        ImageEvaluation().prepare(None)
