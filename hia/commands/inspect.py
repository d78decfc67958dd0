"""Look at a clip store: a page with its statistics, rejections and contact sheets, and the sheets as PNG files."""

import argparse
from pathlib import Path

DEFAULT_CLIPS = 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("store", metavar="STORE", help="folder or URL of a clip store")
    parser.add_argument("--output", metavar="DIR", help="where to write (default: the folder inspection in the store)")
    chosen = parser.add_argument_group("contact sheets")
    chosen.add_argument("--clips", type=int, metavar="N", help=f"of so many clips (default {DEFAULT_CLIPS}), evenly")
    chosen.add_argument("--seed", type=int, help="of clips drawn at random instead")
    chosen.add_argument(
        "--clip",
        action="append",
        default=[],
        metavar="ID",
        help="of this clip (or the start of an id); may be repeated",
    )
    parser.add_argument(
        "--check",
        choices=("hash", "size", "none"),
        default="hash",
        help="compare clip files with the manifest by content (default), by size, or not",
    )


def run(arguments: argparse.Namespace) -> None:
    """Check the store, then write. Raises ValueError (StoreError) or OSError with a message for the user."""
    if arguments.clip and (arguments.clips is not None or arguments.seed is not None):
        raise ValueError("--clip names the clips to show, --clips and --seed choose them: use one or the other")
    if arguments.seed is not None and arguments.seed < 0:
        raise ValueError(f"--seed must be at least 0, not {arguments.seed}")

    from hia.data.store.clip_store import open_store
    from hia.inspection import choose_clips, find_clips, inspect_store

    store = open_store(arguments.store, arguments.check, progress=True)
    if arguments.output is None and not store.folder.is_local:
        raise ValueError(f"{store.folder} is not on this machine: say where to write by --output")
    output = arguments.output or Path(store.folder.root) / "inspection"
    number = DEFAULT_CLIPS if arguments.clips is None else arguments.clips
    shown = find_clips(store, arguments.clip) if arguments.clip else choose_clips(store.clips, number, arguments.seed)
    page = inspect_store(store, output, shown, progress=True)
    print(f"clips: {len(store.clips):,}, rejections: {len(store.rejected):,}, contact sheets: {len(shown):,}")
    print(f"page: {page}")
