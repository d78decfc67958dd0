"""Main job: all stages from videos to a model that animates; finished ones are reused.

    python orchestration/run_all.py --preset quickstart
    python orchestration/run_all.py --preset small --data videos --set storage=/mnt/runs
    python orchestration/run_all.py --preset small --data videos --dry-run    # what would be done, and why

Joins the Ray cluster at $RAY_ADDRESS (as under `ray job submit`), else starts one on this machine.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # heavy imports come after the options have been read
    from orchestration.pipeline import StagesOf


def main(arguments: Sequence[str] | None = None, stages_of: "StagesOf | None" = None) -> int:
    """Returns the exit status: 0; 1 for a stage that failed, 2 for input that cannot be used, 130 interrupted.

    The last line on stderr says why. stages_of: the chain of a configuration, instead of the project's own.
    """
    # Imported here: as a script, this file finds the packages first (see below).
    from orchestration.command import exit_status

    parsed = _parser().parse_args(arguments)

    def work() -> None:
        from orchestration.pipeline import run

        run(parsed, stages_of)

    hint = "what is done is kept: the same command goes on from there (--traceback says where it failed)"
    return exit_status("run_all", work, parsed.traceback, hint)


def _parser() -> argparse.ArgumentParser:
    from orchestration.command import add_changes, add_output_options, new_parser

    parser = new_parser(__doc__, prog="run_all.py")
    parser.add_argument("--preset", default="quickstart", metavar="NAME", help="preset or .yaml file (%(default)s)")
    parser.add_argument(
        "--data", metavar="PLACE", help="folder, file, .txt list or URL of videos, or a clip store (else: dancers)"
    )
    add_changes(parser, "change values, such as sampling.guidance_scale=2; may be repeated")
    parser.add_argument("--from", dest="anew", metavar="STAGE", help="run this stage and all after it, even if done")
    parser.add_argument("--only", metavar="STAGE", help="run this stage alone; those that it needs must be done")
    add_output_options(parser, "say what would be done, and why; do nothing", "no progress: the end and errors only")
    return parser


if __name__ == "__main__":
    if not __package__:  # a script: the packages are beside its folder
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from orchestration.command import use_packages_beside

        use_packages_beside(__file__)
    sys.exit(main())
