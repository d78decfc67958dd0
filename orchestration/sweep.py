"""A sweep: the chain with many configurations, to find the best one. What is done is reused, nothing is trained twice.

    python orchestration/sweep.py experiments/sweeps/gamma_omega.yaml
    python orchestration/sweep.py experiments/sweeps/gamma.yaml --data videos --set training.workers=1 --dry-run

A change of how to sample (ω, steps) is tried on one trained model; a change of how to train (γ, the learning rate)
trains anew for every value, as briefly as the file's `budget` says. Joins the Ray cluster at $RAY_ADDRESS, else starts
one on this machine. Ended by whatever, the same command goes on from there.
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
    """Returns the exit status: 0; 1 when trials failed, 2 for input that cannot be used, 130 interrupted.

    The last line on stderr says why. stages_of: the chain of a configuration, instead of the project's own.
    """
    parsed = _parser().parse_args(arguments)
    from hia.console import interrupt_on_sigterm
    from orchestration.chain.execute import failure_reason
    from orchestration.stages.chain_stages import chain_stages
    from orchestration.sweeps.driver import SweepIncomplete, run

    try:
        with interrupt_on_sigterm():
            run(parsed, stages_of or chain_stages)
    except KeyboardInterrupt:
        print("sweep: interrupted; the same command goes on from there", file=sys.stderr)
        return 130
    except SweepIncomplete as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        if parsed.traceback:
            raise
        print(f"sweep: {failure_reason(error)}", file=sys.stderr)
        return 2 if isinstance(error, (ValueError, OSError)) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweep.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", metavar="CONFIG", help="sweep file, such as experiments/sweeps/gamma_omega.yaml")
    parser.add_argument("--data", metavar="PLACE", help="as of run_all.py, in place of the file's data")
    parser.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change values in all trials, over the file's set; may be repeated",
    )
    parser.add_argument("--dry-run", action="store_true", help="list the trials, what each would run and reuse")
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
