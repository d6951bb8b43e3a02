"""Every recipe with every model that it is for: arguments are accepted, and sizes are equal where they should be."""

from itertools import pairwise

import pytest
import yaml
from jsonargparse import ArgumentParser

from integrand.config_files import PACKAGED, packaged
from integrand.modules import families
from integrand.modules.bench import BenchFamily
from integrand.spec import ImageSpec, VectorSpec
from integrand.suites.spec import read_suite
from integrand.tracking.callbacks.config_recorder import UNWRITABLE

OURS = [f for f in families() if f.__module__.startswith("integrand.")]
MODELS = packaged("model")
CLASSES = {m: yaml.safe_load((PACKAGED / "model" / f"{m}.yaml").read_text())["class_path"] for m in MODELS}
CLASSIFIERS = [e.short for e in read_suite("digits-all").experiments]
GROUP_OF = {f.__name__: f.group for f in OURS}
OF_POINTS = {f.__name__ for f in OURS if VectorSpec in f.takes and f.models == "distribution"}
UNCERTAIN = [
    *(m for m in MODELS if GROUP_OF[CLASSES[m]] == "uncertainty"),
    *("resnet_mc_dropout", "neural_sde_paths", "neural_sde_multiplicative", "neural_sde_dropout"),
    *(
        "neural_sde_jump",
        "neural_sde_langevin",
        "neural_sde_linear_noise",
        "neural_sde_geometric",
        "sde_net",
        "sde_bnn",
    ),
]
"""Models of the suite `uncertainty` that predict by several passes."""
PLANE = [
    m
    for m in MODELS
    if m not in (*CLASSIFIERS, "diffusion_dit", "diffusion_conditional") and CLASSES[m] in OF_POINTS
]
# digits and fashion_mini set nothing that fashion_mnist does not, but for the models named here
MATRIX = [
    *(("fashion_mnist", m) for m in CLASSIFIERS),
    *(("digits", m) for m in ("taynode", "augmented_neural_ode", "deep_equilibrium", *UNCERTAIN)),
    ("fashion_mini", "resnet"),
    *(("points", m) for m in PLANE),
    *(("hnn_oscillators", m) for m in ("hamiltonian_nn", "neural_ode")),
    *((r, "hamiltonian_nn") for r in ("hnn_two_body", "hnn_three_body")),
    ("damped_pendulum", "hybrid_model"),
    ("double_pendulum", "lagrangian_nn"),
    ("ou", "latent_sde"),
    ("ou_paths", "sde_gan"),
    *(("digits_generation", f"diffusion_{m}") for m in ("vp", "v", "edm", "conditional")),
    ("fashion_mini_generation", "diffusion_vp"),
    *(("fashion_mnist_generation", f"diffusion_{m}") for m in ("vp", "edm", "dit")),
]
DATA = {
    "points": "two-moons",
    "hnn_oscillators": "hnn-spring",
    "damped_pendulum": "pendulum",
    "ou": "ornstein-uhlenbeck",
    "ou_paths": "ornstein-uhlenbeck",
}


@pytest.mark.parametrize(("recipe", "model"), MATRIX)
def test_the_arguments_of_a_recipe_are_accepted(build, recipe, model):
    config = build(recipe, model)
    assert type(config.model).__name__ == CLASSES[model]
    assert config.model.spec.name == DATA.get(recipe, recipe.removesuffix("_generation").replace("_", "-"))


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_equal_size_on_fashion_mnist(build, model):
    net = build("fashion_mnist", model).model
    count = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert count == pytest.approx(90_000, rel=0.05), (
        f"set channels of {model} in configs/recipe/fashion_mnist.yaml"
    )


@pytest.mark.parametrize("family", OURS, ids=lambda f: f.family)
def test_every_family_is_a_model(family):
    assert family.__name__ in CLASSES.values(), f"add configs/model/{family.family.replace('-', '_')}.yaml"


@pytest.mark.parametrize("family", OURS, ids=lambda f: f.family)
def test_defaults_of_a_family_can_be_written_down(family):
    """A checkpoint is built again from its configuration, which no lambda with a pair of numbers fits into."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(family, skip={"spec"}, fail_untyped=False)
    assert UNWRITABLE not in parser.dump(parser.get_defaults(), skip_validation=True)


def test_every_classifier_is_in_the_suite_of_all_or_in_that_of_uncertainty():
    own = {f.__name__ for f in OURS if issubclass(f, BenchFamily) and ImageSpec in f.takes}
    assert {CLASSES[m] for m in CLASSIFIERS} | ({CLASSES[m] for m in UNCERTAIN} & own) == own
    assert {m for m in MODELS if CLASSES[m] in own} - set(UNCERTAIN) == set(CLASSIFIERS)


def test_the_schedule_ends_with_the_training(build):
    """A cosine that ends early or never would be a slip."""
    for recipe in packaged("recipe"):
        content = yaml.safe_load((PACKAGED / "recipe" / f"{recipe}.yaml").read_text())
        parts = [content, *content.get("groups", [])]
        schedules = [
            part.get("model", {}).get("init_args", {}).get("lr_scheduler", {}).get("init_args", {})
            for part in parts
        ]
        for part, schedule in zip(parts, schedules, strict=True):
            epochs = part.get("trainer", {}).get("max_epochs")
            assert schedule.get("T_max") == epochs or not any(schedules), recipe


@pytest.mark.parametrize("folder", ["recipe", "model"])
def test_the_first_line_is_a_command_that_uses_the_file(folder):
    for name in packaged(folder):
        first = (PACKAGED / folder / f"{name}.yaml").read_text().splitlines()[0]
        words = first.split()
        assert words[:3] == ["#", "integrand", "fit"]
        options = dict(pairwise(words))
        # what takes series is trained on its data as it comes: there is no recipe that all of them share
        assert options["--recipe"] in packaged("recipe") if "--recipe" in options else "--data" in options
        assert options["--model"] in MODELS
        assert name == options[f"--{folder}"]
