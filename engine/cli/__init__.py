"""The `engine` command: the operator's door (docs/operators.md).

Thin skins over library functions; everything heavy (torch, Prefect, pandas) is imported inside the command that needs
it, so that `engine --help` answers at once.
"""

from __future__ import annotations

import sys

from engine.cli.app import app
from engine.cli.show import complain

__all__ = ["app", "main"]

DONE, FAILED, BAD_USAGE, WAITING = 0, 1, 2, 75


def main() -> None:
    """Run the command line; an error of ours becomes one clear message and an exit code that means something."""
    from storage.errors import EngineError

    try:
        app()
    except EngineError as error:
        complain(str(error))
        sys.exit(BAD_USAGE if type(error).__name__ == "SettingsError" else FAILED)
    except KeyboardInterrupt:
        complain("Stopped. Nothing is lost: run the same command again to continue.")
        sys.exit(130)
