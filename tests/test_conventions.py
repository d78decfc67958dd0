"""The limits on size, and the form of docstrings, that every file keeps."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
OURS = ("hia", "orchestration")
MOST_MODULES, MOST_SHORT_MODULES, SHORT = 235, 30, 60
MOST_IN_A_FOLDER, LARGE_FOLDERS = 15, {"hia/synthetic"}
LONGEST_FILE, LONGEST_FUNCTION = 300, 40
# A relative clause without a noun leaves the reader to guess what it is about.
RIDDLE = re.compile(r"(What|Who|Whether|Which|Where|How|Whose|When)\b")


def python_files(*folders: str) -> list[Path]:
    """All Python files in these folders of the repository."""
    return sorted(file for folder in folders for file in (REPOSITORY / folder).rglob("*.py"))


def modules() -> dict[str, int]:
    """Number of lines of every module of the packages, by path; the files that only name a package are left out."""
    return {named(file): len(lines(file)) for file in python_files(*OURS) if file.name != "__init__.py"}


def named(file: Path) -> str:
    return file.relative_to(REPOSITORY).as_posix()


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


@cache
def nodes(file: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


def test_the_packages_have_few_modules_and_few_short_ones():
    sizes = modules()
    assert len(sizes) <= MOST_MODULES
    short = [path for path, size in sizes.items() if size < SHORT]
    assert len(short) <= MOST_SHORT_MODULES, short


def test_no_folder_has_more_modules_than_can_be_seen_at_once():
    counts = Counter(str(Path(path).parent) for path in modules())
    assert {path: n for path, n in counts.items() if n > MOST_IN_A_FOLDER and path not in LARGE_FOLDERS} == {}


def test_no_file_is_too_long():
    files = python_files(*OURS, "tests", "experiments")
    assert len(files) > 300
    assert {named(file): n for file in files if (n := len(lines(file))) > LONGEST_FILE} == {}


def test_no_function_is_too_long():
    functions = {
        f"{named(file)}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for file in python_files(*OURS, "experiments")
        for node in nodes(file)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in functions.items() if length > LONGEST_FUNCTION} == {}


def test_docstrings_begin_with_a_noun_or_an_imperative():
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    texts = [
        (f"{named(file)}: {text.splitlines()[0]}", text)
        for file in python_files(*OURS, "tests", "experiments")
        for node in nodes(file)
        if isinstance(node, kinds) and (text := ast.get_docstring(node))
    ]
    assert [where for where, text in texts if RIDDLE.match(text)] == []
