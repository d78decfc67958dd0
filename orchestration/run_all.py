"""The main job: from videos to a model that animates, through all stages, each only if it is not done yet.

    python orchestration/run_all.py --preset quickstart
    python orchestration/run_all.py --preset small --data videos --set storage=/mnt/runs

Joins the Ray cluster at $RAY_ADDRESS (as under `ray job submit`), else starts one on this machine.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what takes seconds to import comes after the options have been read
    from orchestration.pipeline import StagesOf


def main(arguments: Sequence[str] | None = None, stages_of: "StagesOf | None" = None) -> int:
    """Returns the exit status: 0; 1 for a stage that failed, 2 for input that cannot be used, 130 interrupted.

    The last line on stderr says why. stages_of: the chain of a configuration, instead of the project's own.
    """
    parsed = _parser().parse_args(arguments)
    from hia.console import interrupt_on_sigterm
    from orchestration.chain.execute import failure_reason
    from orchestration.pipeline import run
    from orchestration.stages.chain_stages import chain_stages

    try:
        with interrupt_on_sigterm():
            run(parsed, stages_of or chain_stages)
    except KeyboardInterrupt:
        print("run_all: interrupted; the same command goes on from there", file=sys.stderr)
        return 130
    except Exception as error:
        if parsed.traceback:
            raise
        refused = isinstance(error, (ValueError, OSError))
        if not refused:
            hint = "what is done is kept: the same command goes on from there (--traceback says where it failed)"
            print(f"run_all: {hint}", file=sys.stderr)
        print(f"run_all: {failure_reason(error)}", file=sys.stderr)
        return 2 if refused else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_all.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="quickstart", metavar="NAME", help="preset or .yaml file (%(default)s)")
    parser.add_argument(
        "--data", metavar="PLACE", help="folder, file, .txt list or URL of videos, or a clip store (else: dancers)"
    )
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change values, such as sampling.guidance_scale=2; may be repeated",
    )
    parser.add_argument("--from", dest="anew", metavar="STAGE", help="run this stage and all after it, even if done")
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone; those that it needs must be done")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and why; do nothing")
    parser.add_argument("--quiet", action="store_true", help="no progress: the end and errors only")
    parser.add_argument("--traceback", action="store_true", help="show where in the program an error arose")
    return parser


def _find_packages() -> None:
    """Run as a script: the packages are beside its folder, here and in all processes that this one starts."""
    here = Path(__file__).resolve().parent
    repository = str(here.parent)
    sys.path[:] = [repository, *(path for path in sys.path if path != str(here))]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [repository, os.environ.get("PYTHONPATH")]))


if __name__ == "__main__":
    if not __package__:
        _find_packages()
    sys.exit(main())
