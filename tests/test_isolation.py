"""Layers: `hia/` is plain PyTorch, and every package imports only those below it."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import hia

REPOSITORY = Path(__file__).resolve().parent.parent
# The file from which MLflow serves a model: by its nature it imports MLflow, and nothing imports it.
SERVED = Path("serving") / "mlflow_model.py"
FORBIDDEN = {"ray", "mlflow", "deepspeed", "torchvision", "orchestration"}

# All packages and modules at the top, the lowest first: those in one line import neither each other nor a later line.
LAYERS = (
    ("hia", "orchestration"),  # the names themselves: a version, nothing else
    ("hia.config", "hia.console", "hia.images", "hia.io"),
    ("hia.diffusion", "hia.video", "hia.weights"),
    ("hia.pose",),
    ("hia.conditions", "hia.synthetic"),
    ("hia.models",),
    ("hia.animation", "hia.data"),
    ("hia.serving", "hia.training", "hia.visualization"),
    ("hia.demo", "hia.inspection"),
    ("hia.evaluation",),
    ("hia.commands",),
    ("hia.cli",),
    ("orchestration.names", "orchestration.serving"),
    ("orchestration.environment",),
    ("orchestration.cluster", "orchestration.job_paths", "orchestration.tracking"),
    ("orchestration.chain", "orchestration.preprocess"),
    ("orchestration.command", "orchestration.training"),
    ("orchestration.preflight", "orchestration.train"),
    ("orchestration.stages",),
    ("orchestration.pipeline",),
    ("orchestration.run_all", "orchestration.sweeps"),
    ("orchestration.sweep",),
)


def modules() -> dict[str, Path]:
    """All modules of the two packages, by dotted name; a package's own file has the package's name."""
    files = (file for package in ("hia", "orchestration") for file in (REPOSITORY / package).rglob("*.py"))
    names = {file: ".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in files}
    return {name.removesuffix(".__init__"): file for file, name in names.items()}


def imported_names(file: Path) -> Iterator[str]:
    """Every dotted name that a file imports, wherever it does so: functions' own imports and those for types count."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def package_of(name: str) -> str:
    """The package below `hia` or `orchestration`, or the module there, that a dotted name belongs to."""
    return ".".join(name.split(".")[:2])


@cache
def imports_between_packages() -> dict[str, set[str]]:
    """The packages that each package imports."""
    known = modules()
    packages = {package_of(name) for name in known}
    found: dict[str, set[str]] = defaultdict(set)
    for module, file in known.items():
        for name in imported_names(file):
            if name.split(".")[0] in {"hia", "orchestration"}:
                package = package_of(name)
                found[package_of(module)].add(package if package in packages else package.split(".")[0])
    return {package: imported - {package} for package, imported in found.items()}


def test_the_method_imports_no_cluster_tracker_or_torchvision():
    package = Path(hia.__file__).parent
    files = [file for file in package.rglob("*.py") if file.relative_to(package) != SERVED]
    assert len(files) > 20
    roots = {str(file): {name.split(".")[0] for name in imported_names(file)} for file in files}
    assert {file: found & FORBIDDEN for file, found in roots.items() if found & FORBIDDEN} == {}


def test_nothing_in_the_method_imports_orchestration():
    found = imports_between_packages()
    upwards = {package: names for package, names in found.items() if package.startswith("hia")}
    assert upwards and not [names for names in upwards.values() if any(one.startswith("orch") for one in names)]


def test_the_configuration_imports_nothing_else_of_the_method():
    assert imports_between_packages().get("hia.config", set()) <= {"hia"}


def test_every_package_has_its_layer():
    listed = [package for layer in LAYERS for package in layer]
    assert len(listed) == len(set(listed))
    assert set(listed) == {package_of(name) for name in modules()}


def test_every_package_imports_only_layers_below_its_own():
    """So there are no circles."""
    level = {package: number for number, layer in enumerate(LAYERS) for package in layer}
    pairs = [(package, other) for package, others in imports_between_packages().items() for other in sorted(others)]
    assert [f"{package} imports {other}" for package, other in pairs if level[other] >= level[package]] == []


def test_the_main_job_imports_our_packages_only_once_they_can_be_found():
    """Beside the script, that is: where they are not installed, or another copy of them is."""
    script = ast.parse((REPOSITORY / "orchestration" / "run_all.py").read_text(encoding="utf-8"))
    at_once = [node for node in script.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in at_once}
    assert not {name.split(".")[0] for name in names} & {"hia", "orchestration"}
