"""The help of the trainer commands that fits on a screen; `--help-all` is the parser's own, of everything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """A line of the help.

    Args:
        name: The option without its dashes.
        value: What it takes, in capitals.
        help: What it does.
        example: A value that is accepted; empty for an option that takes none, or that the table of options
            does not have.
    """

    name: str
    value: str
    help: str
    example: str = ""


_WHAT = [
    Option("model", "NAME", "class of a family (NeuralODE) or packaged settings (resnet)", "NeuralODE"),
    Option("data", "NAME", "class of a data set, or a YAML file that describes one", "FashionMini"),
    Option("model.OPTION", "VALUE", "any argument of the family: --model.help NeuralODE lists them"),
    Option("data.OPTION", "VALUE", "any argument of the data set: --data.help FashionMini lists them"),
    Option("model.solver", "NAME", "class of a solver; --model.solver.rtol and so on set it", "Dopri5"),
    Option("recipe", "NAME", "data, optimiser and budget of configs/recipe, for the model that is named"),
    Option("config", "FILE", "a whole configuration; may be given several times, options override it"),
]
_HOW = [
    Option("model.optimizer", "NAME", "such as AdamW or SGD; --model.optimizer.lr and so on set it", "SGD"),
    Option("model.lr_scheduler", "NAME", "such as CosineAnnealingLR or OneCycleLR"),
    Option("trainer.max_epochs", "N", "passes over the training data (10)", "3"),
    Option("seed_everything", "N", "seed of weights, batches and noise (0)", "1"),
]
_WHERE = [
    Option("trainer.accelerator", "NAME", "cpu, gpu, … (what is here)", "cpu"),
    Option("trainer.devices", "N", "processes, one on each device (1)", "1"),
    Option("trainer.precision", "KIND", "32-true, bf16-mixed, …", "32-true"),
    Option("trainer.logger.experiment", "NAME", "MLflow experiment that records the run", "integrand"),
    Option("trainer.logger.run_name", "NAME", "its name there", "mine"),
    Option("trainer.logger", "false", "record nothing"),
]
_RESUME = Option("resume", "[ID]", "go on with a recorded run, by default the newest")
_RUN = Option("run", "ID", "the recorded run: first letters of its id, its name, latest or best[:QUANTITY]")
_CHECKPOINT = Option("ckpt_path", "FILE", "a checkpoint, alone enough to evaluate; best or last: the run's")
_TRUST = Option("trust", "", "its configuration may name classes that are not installed")

_DOES = {
    "fit": "Train a model and record the run; without options a neural ODE on 3000 pictures.",
    "validate": "Evaluate a trained model on the validation split.",
    "test": "Evaluate a trained model on the test split; with other options than the run's, in a child run.",
    "predict": "Write a trained model's predictions as CSV.",
}


def groups(command: str) -> list[tuple[str, list[Option]]]:
    """The options that are shown, under their headings."""
    if command == "fit":
        ends = Option("test_after_fit", "true", "test the best checkpoint in the same run", "true")
        return [
            ("what to train", _WHAT),
            ("how", [*_HOW, ends]),
            ("where", _WHERE),
            ("going on", [_RESUME, _CHECKPOINT]),
        ]
    return [
        ("which model", [_RUN, _CHECKPOINT, _TRUST]),
        ("what is different", _WHAT[:5]),
        ("where", _WHERE[:3]),
    ]


def short_help(command: str) -> str:
    """The text of `integrand fit --help` and its like.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
    """
    which = "[--recipe NAME] [--model NAME] [--data NAME]" if command == "fit" else "--run ID"
    return "\n".join([f"usage: integrand {command} {which} [options]", "", _DOES[command], *_lines(command)])


def _lines(command: str) -> Iterator[str]:
    shown = groups(command)
    width = max(len(_left(option)) for _, options in shown for option in options)
    for heading, options in shown:
        yield ""
        yield f"{heading}:"
        for option in options:
            yield f"  {_left(option):<{width}}  {option.help}"
    yield ""
    yield "--print_config shows the whole configuration, --help-all every option."
    yield "MLFLOW_TRACKING_URI names another store than ./mlflow.db."


def _left(option: Option) -> str:
    return f"--{option.name} {option.value}".rstrip()
