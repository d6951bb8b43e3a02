"""The argument parser of the light commands: one-line errors with a did-you-mean."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from ..errors import UsageError
from ..suggest import did_you_mean


class Parser(argparse.ArgumentParser):
    """An `argparse` parser that raises `UsageError` instead of printing its usage and exiting.

    Abbreviated options are refused: `--exp` would be taken for `--experiment` today and for something else
    after the next release.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Raise the message as a usage error.

        Raises:
            UsageError: Always.
        """
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown:
            name = unknown[1].split("=")[0]
            known = [o for action in self._actions for o in action.option_strings]
            message = f"unknown option {name}{did_you_mean(name, known)}"
        choice = re.match(r"argument (.*): invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if choice:
            known = [c.strip("' ") for c in choice[3].split(",")]
            message = f"unknown {choice[1]} {choice[2]!r}{did_you_mean(choice[2], known)}"
        raise UsageError(message, f"{self.prog} --help lists the options")
