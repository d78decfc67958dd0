"""Sweep: the chain with many configurations, to find the best one. Finished stages are reused, none is trained twice.

    python orchestration/sweep.py experiments/sweeps/gamma_omega.yaml
    python orchestration/sweep.py experiments/sweeps/gamma.yaml --data videos --set training.workers=1 --dry-run

A change of how to sample (ω, steps) is tried on one trained model; a change of how to train (γ, the learning rate)
trains anew for every value, as briefly as the file's `budget` says. Joins the Ray cluster at $RAY_ADDRESS, else starts
one on this machine. After any interruption, the same command goes on from there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # heavy imports come after the options have been read
    from orchestration.pipeline import StagesOf


def main(arguments: Sequence[str] | None = None, stages_of: "StagesOf | None" = None) -> int:
    """Returns the exit status: 0; 1 when trials failed, 2 for input that cannot be used, 130 interrupted.

    The last line on stderr says why. stages_of: the chain of a configuration, instead of the project's own.
    """
    from orchestration.command import exit_status

    parsed = _parser().parse_args(arguments)

    def work() -> int:
        from orchestration.sweeps.driver import SweepIncomplete, run

        try:
            run(parsed, stages_of)
        except SweepIncomplete as error:
            print(f"sweep: {error}", file=sys.stderr)
            return 1
        return 0

    return exit_status("sweep", work, parsed.traceback)


def _parser() -> argparse.ArgumentParser:
    from orchestration.command import add_changes, add_output_options, new_parser

    parser = new_parser(__doc__, prog="sweep.py")
    parser.add_argument("config", metavar="CONFIG", help="sweep file, such as experiments/sweeps/gamma_omega.yaml")
    parser.add_argument("--data", metavar="PLACE", help="as of run_all.py, in place of the file's data")
    add_changes(parser, "change values in all trials, over the file's set; may be repeated")
    add_output_options(parser, "list the trials, what each would run and reuse", "no progress: the end and errors only")
    return parser


if __name__ == "__main__":
    if not __package__:  # a script: the packages are beside its folder
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from orchestration.command import use_packages_beside

        use_packages_beside(__file__)
    sys.exit(main())
