"""The journal: whole lines, even if several processes write and are killed."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.tracking.journal import Artifact, JournalWriter, Metrics, read_new
from tests.conftest import REPOSITORY


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "stage" / "journal.jsonl"


def values(path: Path) -> list[tuple[int, dict[str, float]]]:
    return [(entry.step, dict(entry.values)) for entry in read_new(path)[0] if isinstance(entry, Metrics)]


def test_what_is_written_is_read_in_order(journal: Path) -> None:
    writer = JournalWriter(journal)
    writer.metrics(10, {"loss": 0.25, "val/bin 0-199": 1})
    writer.artifact("samples/step_10 é.mp4", "samples")
    first, second = read_new(journal)[0]
    assert isinstance(first, Metrics) and (first.step, first.values) == (10, {"loss": 0.25, "val/bin 0-199": 1.0})
    assert isinstance(second, Artifact) and (second.path, second.under) == ("samples/step_10 é.mp4", "samples")
    assert 0 <= second.time - first.time < 60_000


def test_each_entry_is_a_line_of_json(journal: Path) -> None:
    JournalWriter(journal).metrics(3, {"loss": math.nan})
    (line,) = journal.read_text().splitlines()
    content = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (content["step"], content["metrics"]) == (3, {"loss": "nan"})


def test_what_is_not_finite_comes_back_as_it_was(journal: Path) -> None:
    JournalWriter(journal).metrics(0, {"a": math.inf, "b": -math.inf, "c": math.nan})
    ((_, read),) = values(journal)
    assert (read["a"], read["b"], math.isnan(read["c"])) == (math.inf, -math.inf, True)


def test_reading_goes_on_where_it_ended(journal: Path) -> None:
    writer = JournalWriter(journal)
    writer.metrics(1, {"loss": 1})
    entries, offset = read_new(journal)
    assert offset == entries[-1].end == journal.stat().st_size
    assert read_new(journal, offset) == ([], offset)
    writer.metrics(2, {"loss": 2})
    assert [entry.step for entry in read_new(journal, offset)[0]] == [2]


def test_each_entry_says_where_the_file_goes_on_after_it(journal: Path) -> None:
    for step in range(3):
        JournalWriter(journal).metrics(step, {"loss": step})
    for entry in read_new(journal)[0]:
        assert [later.step for later in read_new(journal, entry.end)[0]] == list(range(entry.step + 1, 3))


def test_a_line_that_is_being_written_is_read_when_it_is_finished(journal: Path) -> None:
    JournalWriter(journal).metrics(1, {"loss": 1})
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-5])
    assert read_new(journal) == ([], 0)
    journal.write_bytes(whole)
    assert values(journal) == [(1, {"loss": 1.0})]


def test_a_journal_that_is_not_there_yet_is_empty(journal: Path) -> None:
    assert read_new(journal, 0) == ([], 0)


def test_a_writer_that_is_killed_within_a_line_costs_no_other_line(journal: Path) -> None:
    before, killed, after = {"loss": 1.0}, {"loss": 2.0}, {"loss": 4.0}
    writer = JournalWriter(journal)
    writer.metrics(1, before)
    first = journal.stat().st_size
    writer.metrics(2, killed)
    whole = journal.read_bytes()
    for cut in range(first, len(whole)):
        journal.write_bytes(whole[:cut])
        writer.metrics(3, after)
        read = values(journal)
        assert read[0] == (1, before) and read[-1] == (3, after)
        # All of a line but its end may have been written: then it counts.
        assert read[1:-1] == ([(2, killed)] if cut == len(whole) - 1 else [])


@pytest.mark.parametrize(
    "line", ["[]", "3", "{}", '{"time": 1, "step": 2}', '{"time": 1, "step": 2, "metrics": 5}', "\0"]
)
def test_lines_that_say_nothing_are_passed_by(journal: Path, line: str) -> None:
    JournalWriter(journal).metrics(1, {"loss": 1})
    with journal.open("a") as file:
        file.write(line + "\n")
    JournalWriter(journal).metrics(2, {"loss": 2})
    assert [step for step, _ in values(journal)] == [1, 2]


def test_processes_that_write_at_once_leave_all_lines_whole(journal: Path) -> None:
    program = (
        "import sys; from orchestration.tracking.journal import JournalWriter; writer = JournalWriter(sys.argv[1])\n"
        "for step in range(300): writer.metrics(step, {sys.argv[2]: step, 'x' * 200: 0.5})"
    )
    names = ("a", "b", "c")
    running = [subprocess.Popen([sys.executable, "-c", program, str(journal), name], cwd=REPOSITORY) for name in names]
    assert [process.wait() for process in running] == [0, 0, 0]
    read = values(journal)
    for name in names:
        assert [step for step, at in read if name in at] == list(range(300))


@pytest.mark.parametrize("name", ["", "a//b", "/a", "a/", "../a", "a/./b", "loss%", "λ", "a\n", "x" * 251])
def test_a_name_that_the_tracking_server_would_refuse_is_refused_at_once(journal: Path, name: str) -> None:
    with pytest.raises(ValueError, match="a name is made of letters"):
        JournalWriter(journal).metrics(1, {name: 1.0})
    assert not journal.exists()


@pytest.mark.parametrize("path, under", [("/etc/passwd", "x"), ("../x", "x"), ("a/../../x", ""), ("x", "../y")])
def test_artifacts_lie_in_the_stage_folder(journal: Path, path: str, under: str) -> None:
    with pytest.raises(ValueError, match="below the stage's folder"):
        JournalWriter(journal).artifact(path, under)


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        JournalWriter(tmp_path / "file" / "journal.jsonl").metrics(1, {"loss": 1})
