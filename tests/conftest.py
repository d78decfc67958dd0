"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """Folder of real sample clips, pictures and small real weights (not part of the repository).

    Looked for in `$HIA_SAMPLE_DATA`, then in `../shared/data` beside the checkout.
    """
    folder = Path(os.environ.get("HIA_SAMPLE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "manifest.yaml").is_file():
        pytest.skip(f"sample data not found in {folder}: set HIA_SAMPLE_DATA to its folder")
    return folder
