"""`integrand fit | validate | test | predict`: LightningCLI with Integrand's defaults and manners."""

from __future__ import annotations

import contextlib
import io
import logging
import pickle
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, cast

import torch
from jsonargparse import set_parsing_settings
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import integrand.datamodules
import integrand.modules
from integrand.datamodules.base import DataModule
from integrand.modules.family import FamilyModule

from ..checkpoints import verify
from ..config_files import BASE
from ..errors import FullDiskError, IntegrandError, UsageError
from ..outcome import Outcome
from ..spec import Spec
from ..tracking import ConfigRecorder, default_callbacks, exit_code
from ..tracking.callbacks import BestCheckpoint
from ..tracking.callbacks.base import tracker_of
from ..tracking.processes import slurm
from ..tracking.processes.exits import FULL, SAVED_CODE, SIGINT_CODE
from ..tracking.processes.lost import is_lost, what_was_lost
from ..tracking.store.uris import redact
from . import strategies
from .arguments import expand_checkpoint, expand_run
from .explain import explain, misconfigured, missing_package, out_of_memory
from .line import DEFAULT_CLASSES, Line
from .mlflow_environment import take_up
from .own_data import expand_path
from .predictions import to_csv
from .progress import progress_callbacks
from .recorded import recorded_run
from .summary import Ending, print_summary

log = logging.getLogger(__name__)

_PREDICTIONS = "predictions.csv"
_EPILOG = (
    "Beside these: --recipe NAME, data, optimiser and budget from configs/recipe, with --model NAME; --run "
    "ID, or --resume [ID] of fit, a recorded run; --trust, it may name classes that are not installed."
)


class Parser(LightningArgumentParser):
    """LightningCLI's parser, with one-line errors."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one sentence; nested parsers, which try alternatives, keep their own way.

        Raises:
            UsageError: The arguments or a configuration cannot be parsed.
        """
        if not self.exit_on_error:
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        command = parser.prog.split()[-1] if parser is not self else self.prog.split()[-1]
        options = [o.lstrip("-") for a in _all_actions(parser) for o in a.option_strings]
        options.append("recipe")  # put together with the model before anything is parsed
        raise explain(message, options, command) from ex


def _all_actions(parser: Any) -> list[Any]:
    """The actions of a parser and of its subcommands."""
    found = list(parser._actions)
    for action in parser._actions:
        choices = getattr(action, "choices", None)
        if isinstance(choices, dict):
            found += [a for child in choices.values() for a in child._actions]
    return found


class IntegrandCLI(LightningCLI):
    """One experiment: data set, family, trainer and tracking, from YAML and options."""

    command: ClassVar[str]
    """The one command that there is a parser for: Lightning would build those of all four."""

    @classmethod
    def subcommands(cls) -> dict[str, set[str]]:
        """The command with those parameters of its `Trainer` method that are no options."""
        return {cls.command: LightningCLI.subcommands()[cls.command]}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link what the data knows to the model, and add the options that Trainer methods lack."""
        parser.link_arguments("data.spec", "model.init_args.spec", apply_on="instantiate")
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=False,
            help="After fit, test the best checkpoint in the same run.",
        )

    def _parse_ckpt_path(self) -> None:
        """Keep what the user gave: Lightning would let the checkpoint's hyperparameters override it."""

    def before_instantiate_classes(self) -> None:
        """Refuse a configuration that names a linked value, and load no objects from checkpoints.

        Raises:
            UsageError: The configuration sets the spec by hand, or names a checkpoint at an address or
                a damaged one.
        """
        if self.subcommand == "fit" and slurm.restarted() and not self._get(self.config, "ckpt_path"):
            # the job was queued again: go on where its last start ended
            self.config["fit"]["ckpt_path"] = "last"
        checkpoint = str(self._get(self.config, "ckpt_path") or "")
        if "://" in checkpoint:
            raise UsageError(
                f"a checkpoint at an address is not loaded: {redact(checkpoint)}",
                "fetch it, see that it is from whom you trust, and name the file",
            )
        verify(checkpoint)
        if self._get(self.config, "weights_only", default=None) is None:
            # a checkpoint is data: Lightning would unpickle whatever objects it holds
            self.config[str(self.subcommand)]["weights_only"] = True
        model = self._get(self.config, "model")
        if model is not None and model.get("init_args", {}).get("spec") is not None:
            raise UsageError("model.spec cannot be set: the data set publishes it", "drop it from the config")

    def instantiate_classes(self) -> None:
        """Build data, model and trainer; what a constructor refuses is told as it said it.

        Raises:
            IntegrandError: A constructor refused its arguments.
        """
        try:
            super().instantiate_classes()
        except ValueError as error:
            # jsonargparse wraps a constructor's error once per alternative it tried
            cause: BaseException = error
            while not isinstance(cause, IntegrandError) and cause.__cause__ is not None:
                cause = cause.__cause__
            raise cause from None
        except ModuleNotFoundError as error:
            raise missing_package(error) from error

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """The trainer with progress and tracking callbacks, and with gradients at evaluation where needed."""
        trainer = self.config[self.subcommand].trainer
        if getattr(self.model, "needs_grad_at_eval", False):
            # recorded too, so that the resolved configuration says what ran
            trainer.inference_mode = False
            kwargs["inference_mode"] = False
        tracking = (
            default_callbacks(checkpointing=trainer.enable_checkpointing is not False)
            if trainer.logger
            else []
        )
        progress = progress_callbacks(trainer.enable_progress_bar)
        # progress last: it shows what the others record
        self.trainer_defaults["callbacks"] = [*tracking, *progress, Ending()]
        # without a bar among ours Lightning would add its own
        kwargs["enable_progress_bar"] = any(isinstance(c, ProgressBar) for c in progress)
        kwargs["strategy"] = strategies.strategy(self._get(self.config_init, "trainer").strategy)
        try:
            built = super().instantiate_trainer(**kwargs)
        except ValueError as error:
            raise misconfigured(error, str(self.subcommand)) from error
        strategies.check(built, self.model)
        return built

    def predict(self, **kwargs: Any) -> None:
        """Predict the test split, or all of `--data PATH`, into `predictions.csv` of the run.

        Without a tracker it is written here.

        Raises:
            UsageError: The model is no family.
        """
        if not isinstance(self.model, FamilyModule):
            raise UsageError(
                f"{type(self.model).__name__} is no family, and what its predictions mean is not known",
                "call Trainer.predict on what integrand.load gives",
            )
        batches = self.trainer.predict(**kwargs) or []
        if not self.trainer.is_global_zero:
            return
        text = to_csv(self.model.task, cast(list[Outcome], batches), self._ids())
        logger = tracker_of(self.trainer)
        if logger is not None:
            logger.log_text(text, _PREDICTIONS)
            logger.flush()
            folder = logger.save_dir
            place = f"runs:/{logger.run_id}" if folder is None else folder
            print(f"{place}/{_PREDICTIONS}")
        else:
            Path(_PREDICTIONS).write_text(text, encoding="utf-8")
            print(Path(_PREDICTIONS).resolve())

    def _ids(self) -> Sequence[str]:
        """What the data module calls the samples that it predicts; none where it has no names."""
        data = self.datamodule
        alone = self.trainer.world_size == 1  # else a process has every W-th sample
        return data.ids if isinstance(data, DataModule) and alone else ()

    def after_fit(self) -> None:
        """Test the best checkpoint in the same run where `--test_after_fit` asks for it; sum up."""
        if self._get(self.config, "test_after_fit") and not self.trainer.interrupted:
            # a fit that was never validated has no best checkpoint: its last weights are tested
            # and one's own ModelCheckpoint may stand before the run's
            kept = [c for c in self.trainer.checkpoint_callbacks if isinstance(c, BestCheckpoint)]
            best = (kept[0].best_model_path if kept else "") or None
            self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best, verbose=False)
        print_summary(self.trainer)


def _keep_spec_whole() -> None:
    """Tell jsonargparse that a `Spec` is one object: it would ask for each field of a dataclass."""
    set_parsing_settings(subclasses_enabled=[Spec])


def _quiet() -> None:
    """Silence what tells a user nothing; everything else is still shown."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # whole sets live in memory as one tensor: workers only add cost (docs/data.md)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    # sys.argv stays as it is: DDP children are started with this process's own command line
    warnings.filterwarnings("ignore", ".*args parameter is intended to run from within Python.*")
    # torch's own deprecation, raised inside Lightning
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
    # FSDP2's hint for modules whose output is changed in place, which nothing here does
    warnings.filterwarnings("ignore", ".*returned a view tensor. An in-place op on this view.*")
    # best and last are two checkpoint callbacks; the first is the best one
    warnings.filterwarnings("ignore", ".*configured with multiple `ModelCheckpoint` callbacks.*")
    # a test in a child run reads the parent's checkpoint on purpose
    warnings.filterwarnings("ignore", ".*The dirpath has changed from.*")
    # log_every_n_steps above the number of batches is normal for small sets
    warnings.filterwarnings(
        "ignore", ".*The number of training batches.*is smaller than the logging interval.*"
    )


def run(command: str, argv: list[str]) -> int:
    """Run one of the four trainer commands.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        argv: The arguments after the command.

    Returns:
        0 on success, 128 + n after signal n.

    Raises:
        IntegrandError: Whatever is expected to go wrong, in words.
    """
    slurm.prepare()
    _quiet()
    _keep_spec_whole()
    sys.path.append(
        str(Path.cwd())
    )  # class paths may name the user's own files; last, so that they hide nothing
    integrand.modules.load_all()
    integrand.datamodules.load_all()
    trust = "--trust" in argv
    line = Line([word for word in argv if word != "--trust"])
    take_up(line)
    expand_run(command, line, recorded_run, trust)
    expand_checkpoint(command, line, trust)
    expand_path(command, line)
    line.compose()
    line.forget_replaced_classes()
    line.add_default_classes()
    line.name_plateau()
    with tempfile.TemporaryDirectory(prefix="integrand-") as folder:
        try:
            return _run(command, line.argv(Path(folder)))
        except UsageError as error:
            raise line.blamed(error) from error.__cause__


def rehearse() -> None:
    """Parse a command line, so that this process and its forks know the signatures of what it can name."""
    _keep_spec_whole()
    words = [word for name, default in DEFAULT_CLASSES.items() for word in (f"--{name}", default)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        _run("fit", [*words, "--print_config"])


def _run(command: str, argv: list[str]) -> int:
    """Run a command whose files are all found; see `run`."""
    parser_kwargs: dict[str, Any] = {"allow_abbrev": False, "prog": "integrand"}
    parser_kwargs[command] = {"default_config_files": [str(BASE)], "epilog": _EPILOG}
    try:
        type("CLI", (IntegrandCLI,), {"command": command})(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=ConfigRecorder,
            save_config_kwargs={"save_to_log_dir": False},
            auto_configure_optimizers=False,
            seed_everything_default=0,
            parser_class=Parser,
            parser_kwargs=parser_kwargs,
            load_from_checkpoint_support=False,
            args=[command, *argv],
        )
    except IntegrandError:
        raise
    except pickle.UnpicklingError as error:
        raise UsageError(
            "the checkpoint holds more than weights and plain data, and is not loaded",
            "if you trust whoever made it: --weights_only false",
        ) from error
    except MisconfigurationException as error:
        raise misconfigured(error, command) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise out_of_memory() from error
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise FullDiskError(
                f"no space left on the disk of {error.filename2 or error.filename or 'the run'}",
                "make room, then go on from the last checkpoint: integrand fit --resume RUN_ID",
            ) from error
        code = exit_code(error)
        if code == SIGINT_CODE and isinstance(error, SystemExit) and error.code != code:
            raise KeyboardInterrupt from error
        if is_lost(error):
            raise what_was_lost(error) from error
        if code is None:
            if "can't allocate memory" in str(error):
                raise out_of_memory() from error  # PyTorch's words for a host without memory
            # Lightning's way to say that devices and nodes are not those of the job
            message, _, hint = str(error).partition(" HINT: ")
            if hint and "SLURM" in message:
                raise UsageError(message, hint.strip()) from error
            raise
        if code == SAVED_CODE and (problem := slurm.requeue()):
            log.warning("SLURM does not queue the job again: %s", problem)
        return code
    return 0
