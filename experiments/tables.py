"""The paper's tables: their rows are run, or reused, and printed beside the paper's figures.

    python experiments/tables.py --table 2 --preset smoke                 # minutes, no GPU: does it run?
    python experiments/tables.py --table 2 --data videos                  # the paper's recipe; needs its GPUs
    python experiments/tables.py --table 1 --data videos --dataset tiktok

Rows are configurations over one base (experiments/ablations, experiments/baselines). Stages that rows have in common
are run once, and stages that run_all.py has finished with the same settings are reused. If killed, the same command
goes on.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # heavy imports come after the options have been read
    from experiments.paper_tables.layout import MeasuredTable
    from experiments.paper_tables.spec import Table
    from hia.config import Config
    from orchestration.pipeline import StagesOf


def main(arguments: Sequence[str] | None = None, stages_of: "StagesOf | None" = None) -> int:
    """Returns the exit status: 0; 1 when rows failed, 2 for input that cannot be used, 130 interrupted.

    stages_of: the chain of a configuration, instead of the project's own.
    """
    from orchestration.command import exit_status

    parsed = _parser().parse_args(arguments)
    return exit_status("tables", lambda: run(parsed, stages_of), parsed.traceback)


def run(parsed: argparse.Namespace, stages_of: "StagesOf | None" = None) -> int:
    """Plan the rows; without --dry-run, run them and print the table. Raises what the command explains."""
    from experiments.paper_tables.running import plans
    from experiments.paper_tables.spec import base_config, configs_of, load_table
    from orchestration.job_paths import with_absolute_paths
    from orchestration.pipeline import plan_table, project_stages
    from orchestration.preflight import check, check_writable

    table = load_table(parsed.table)
    resolved = [with_absolute_paths(config) for config in configs_of(table, parsed.preset, parsed.set, parsed.data)]
    configs = [config for config, _ in resolved]
    for note in dict.fromkeys(note for _, notes in resolved for note in notes):
        print(note, file=sys.stderr)
    for config in configs:
        check(config)
    stages_of = stages_of or project_stages()
    if parsed.dry_run:
        for row, planned in zip(table.rows, plans(configs, stages_of), strict=True):
            print(f"{row.name}\n{plan_table(planned)}\n")
        return 0
    check_writable(Path(configs[0].storage))
    base, _ = with_absolute_paths(base_config(parsed.preset, parsed.set, parsed.data))
    result, place, url = fill(table, base, configs, stages_of, parsed)
    print(f"\n{result.as_text()}\n\nresults:    {place}\nMLflow run: {url}")
    return 1 if any(one.reason for one in result.measured) else 0


def fill(
    table: "Table", base: "Config", configs: "Sequence[Config]", stages_of: "StagesOf", parsed: argparse.Namespace
) -> tuple["MeasuredTable", Path, str]:
    """Run the rows; write the table to the storage and to a tracking run, whose URL is returned last."""
    from experiments.paper_tables.layout import MeasuredTable
    from experiments.paper_tables.running import Rows
    from hia.io.files import Folder
    from hia.io.hashing import json_digest
    from orchestration.chain.execute import final_status
    from orchestration.tracking import connect_tracking

    storage = Path(base.storage)
    tracking = connect_tracking(storage)
    tracking.close_orphans()
    fingerprint = json_digest(parsed.table, parsed.dataset, [asdict(config) for config in configs])
    tags = {"table": str(parsed.table), "preset": base.preset}
    parent = tracking.start_table(parsed.table, fingerprint, asdict(base), tags)
    with final_status(parent):
        measured = Rows(tracking, parent, tags, stages_of, parsed.quiet).run(table.rows, configs)
        result = MeasuredTable(parsed.table, table.title, parsed.dataset, base, measured)
        folder = storage / "tables" / f"table_{parsed.table}-{fingerprint[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (("table.md", result.as_markdown().encode()), ("table.csv", result.as_csv())):
            Folder(folder).write(name, content)
            parent.log_artifact(folder / name)
        parent.note_result(result.as_markdown())
    return result, folder, parent.url


def _parser() -> argparse.ArgumentParser:
    from orchestration.command import add_changes, add_output_options, new_parser

    parser = new_parser(__doc__)
    parser.add_argument("--table", type=int, required=True, choices=(1, 2, 3), help="of the paper")
    parser.add_argument(
        "--preset",
        default="paper",
        metavar="NAME",
        help="what all rows are over: a preset, smoke, or a file (%(default)s)",
    )
    parser.add_argument("--data", metavar="PLACE", help="as of run_all.py (else: generated dancers)")
    parser.add_argument(
        "--dataset", default="humandance", choices=("humandance", "tiktok"), help="of the paper's figures (%(default)s)"
    )
    add_changes(parser, "change all rows")
    add_output_options(
        parser, "say what each row would run and reuse; do nothing", "no progress: the table and errors only"
    )
    return parser


if __name__ == "__main__":
    if not __package__:  # a script: the packages are beside its folder
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from orchestration.command import use_packages_beside

        use_packages_beside(__file__)
    sys.exit(main())
