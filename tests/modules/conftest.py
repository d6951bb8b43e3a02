"""Whole configurations through the command line's own parser."""

from functools import cache
from pathlib import Path

import pytest
import torch

from integrand.cli import training
from integrand.config_files import PACKAGED
from integrand.recipes import compose


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Data and model of a configuration: a file, or a recipe and a model. Each is built once."""
    kept, folder = {}, tmp_path_factory.mktemp("composed")
    first = ["--model", "no_block", "--data", "Digits", "--trainer.logger", "false"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.IntegrandCLI, "_run_subcommand", lambda cli, name: kept.update(cli=cli))
        code = training.run("fit", first)
    assert code == 0
    parser = kept["cli"].parser

    @cache
    def build(path, model=""):
        if model:
            content = compose(PACKAGED / "recipe" / f"{path}.yaml", str(PACKAGED / "model" / f"{model}.yaml"))
            path = training_file(folder, content)
        torch.manual_seed(0)
        return parser.instantiate_classes(parser.parse_args(["fit", "--config", str(path)])).fit

    return build


def training_file(folder: Path, content: dict) -> Path:
    """A configuration as a file."""
    import yaml

    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
