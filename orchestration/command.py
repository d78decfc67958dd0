"""The common part of the commands run_all.py, sweep.py and tables.py: options, exit statuses, finding the packages.

Light to import: the options are read, and the configuration is checked, before anything heavy is imported.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from hia.console import interrupt_on_sigterm
from orchestration.chain.execute import failure_reason


def new_parser(description: str | None, prog: str | None = None) -> argparse.ArgumentParser:
    """A parser that shows the description as it is written."""
    return argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_changes(parser: argparse.ArgumentParser, help: str) -> None:
    """Add --set, any number of KEY=VALUE."""
    parser.add_argument("--set", action="extend", nargs="+", default=[], metavar="KEY=VALUE", help=help)


def add_output_options(parser: argparse.ArgumentParser, dry_run: str, quiet: str) -> None:
    """Add --dry-run, --quiet and --traceback; the texts are the first two options' help."""
    parser.add_argument("--dry-run", action="store_true", help=dry_run)
    parser.add_argument("--quiet", action="store_true", help=quiet)
    parser.add_argument("--traceback", action="store_true", help="show where in the program an error arose")


def exit_status(name: str, work: Callable[[], int | None], traceback: bool, hint: str = "") -> int:
    """Do the work of a command. Returns its status (None is 0), or 2 for input that cannot be used, 130 interrupted, 1.

    The last line on stderr says why; SIGTERM ends the work as Ctrl-C does. traceback: raise errors instead.
    hint: a line before that of a failure that is not the input's.
    """
    try:
        with interrupt_on_sigterm():
            return work() or 0
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on from there", file=sys.stderr)
        return 130
    except Exception as error:
        if traceback:
            raise
        refused = isinstance(error, (ValueError, OSError))
        if hint and not refused:
            print(f"{name}: {hint}", file=sys.stderr)
        print(f"{name}: {failure_reason(error)}", file=sys.stderr)
        return 2 if refused else 1


def use_packages_beside(script: str) -> None:
    """Import the packages of the script's checkout, here and in all processes that this one starts.

    The script's own folder goes from the path, so that its modules are not found under top-level names.
    """
    folder = Path(script).resolve().parent
    repository = str(folder.parent)
    sys.path[:] = [repository, *(path for path in sys.path if path not in (repository, str(folder)))]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [repository, os.environ.get("PYTHONPATH")]))
