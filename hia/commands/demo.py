"""Serve a web page that animates pictures: by a model directory, or by a served model."""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hia.demo.backend import Backend


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    model = parser.add_mutually_exclusive_group(required=True)
    model.add_argument("--model", type=Path, metavar="DIR", help="model directory, used by this process")
    model.add_argument("--url", help="of a server, such as http://localhost:5000 (mlflow models serve)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1: this machine)")
    parser.add_argument("--port", type=int, default=7860, help="(default 7860)")
    parser.add_argument(
        "--samples",
        type=Path,
        metavar="DIR",
        help="folder of more samples: keypoint files (.npz), videos (.mp4, .webm), pictures",
    )


def run(arguments: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C. Raises ValueError or OSError with a message for the user."""
    if not 1 <= arguments.port <= 65535:
        raise ValueError(f"--port must lie in 1..65535, not {arguments.port}")
    if arguments.samples is not None and not arguments.samples.is_dir():
        raise FileNotFoundError(f"--samples {arguments.samples}: there is no such folder")
    with _temporary_folder() as folder:
        try:
            import gradio  # noqa: F401
        except ImportError:
            raise ValueError("the page needs Gradio, which is not installed: pip install -e '.[demo]'") from None

        from hia.demo.server import serve_page

        serve_page(_backend(arguments), arguments.host, arguments.port, folder, arguments.samples)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A temporary folder for uploads, results and samples.

    Gradio reads its path from the environment already when it is imported.
    """
    with tempfile.TemporaryDirectory(prefix="hia-demo-", ignore_cleanup_errors=True) as name:
        ours = {"GRADIO_TEMP_DIR": str(Path(name) / "gradio"), "GRADIO_ANALYTICS_ENABLED": "False"}
        before = {variable: os.environ.get(variable) for variable in ours}
        os.environ.update(ours)
        try:
            yield Path(name)
        finally:
            for variable, value in before.items():
                del os.environ[variable]
                os.environ.update({} if value is None else {variable: value})


def _backend(arguments: argparse.Namespace) -> "Backend":
    from hia.demo.backend import LocalBackend, RemoteBackend
    from hia.serving.client import endpoint_url
    from hia.serving.limits import Limits
    from hia.serving.loading import load_generator

    if arguments.url is not None:
        endpoint_url(arguments.url)
        return RemoteBackend(arguments.url, Limits.of())
    try:
        return LocalBackend(load_generator(arguments.model, Limits.of()))
    except ImportError as error:
        raise ValueError(str(error)) from None
