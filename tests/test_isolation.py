"""The method stands alone: `hia/` is plain PyTorch."""

import ast
from pathlib import Path

import hia

# What MLflow reads to serve a model: by its nature it imports MLflow, and nothing imports it.
SERVED = Path("serving") / "mlflow_model.py"
FORBIDDEN = {"ray", "mlflow", "deepspeed", "torchvision", "orchestration"}


def imported_packages(file: Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            packages.add(node.module.split(".")[0])
    return packages


def test_the_method_imports_no_cluster_tracker_or_torchvision():
    package = Path(hia.__file__).parent
    files = [file for file in package.rglob("*.py") if file.relative_to(package) != SERVED]
    assert len(files) > 20
    assert {str(file): found for file in files if (found := imported_packages(file) & FORBIDDEN)} == {}


def test_the_main_job_imports_our_packages_only_once_they_can_be_found():
    """Beside the script, that is: where they are not installed, or another copy of them is."""
    script = ast.parse((Path(__file__).parents[1] / "orchestration" / "run_all.py").read_text(encoding="utf-8"))
    at_once = [node for node in script.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in at_once}
    assert not {name.split(".")[0] for name in names} & {"hia", "orchestration"}
