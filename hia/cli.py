"""The `hia` command."""

import argparse
import sys
from collections.abc import Sequence

from hia import __version__
from hia.commands import animate, build, client, dancers, demo, evaluate, inspect, preprocess, verify
from hia.console import interrupt_on_sigterm

VERBS = {
    "animate": (animate, "animate a reference image by a driving motion"),
    "client": (client, "the same by a server: a registered model behind an address"),
    "demo": (demo, "the same on a web page, with a model of this machine or of a server"),
    "evaluate": (evaluate, "measure animations against the truth: a model's, or anybody's"),
    "verify": (verify, "tell whether a video was made with hia"),
    "preprocess": (preprocess, "make a clip store of raw videos"),
    "inspect": (inspect, "look at a clip store: statistics, rejections, contact sheets"),
    "dancers": (dancers, "draw videos of dancing people, with exact keypoints, to try things on"),
    "build": (build, "make a model directory from a preset, with pretrained or random weights"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb. Returns the exit status: 0; 2 for unusable input, 130 when interrupted, 1 for any other error."""
    parser = argparse.ArgumentParser(
        prog="hia", description="Human image animation: a picture and a motion in, a video out."
    )
    parser.add_argument("--version", action="version", version=f"hia {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where in the program an error arose")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (module, summary) in VERBS.items():
        module.add_arguments(verbs.add_parser(name, help=summary, description=module.__doc__))
    parsed = parser.parse_args(arguments)
    try:
        with interrupt_on_sigterm():
            VERBS[parsed.verb][0].run(parsed)
    except (ValueError, OSError) as error:
        if parsed.traceback:
            raise
        print(f"hia {parsed.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"hia {parsed.verb}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if parsed.traceback:
            raise
        text = f"{type(error).__name__}: {error}"
        print(f"hia {parsed.verb}: failed with {text}\n(hia --traceback {parsed.verb} … says where)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
