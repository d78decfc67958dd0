"""The page behind an address of this machine, for as long as the program runs. Needs Gradio."""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import gradio as gr

from hia.demo.backend import Backend
from hia.demo.looks import CSS, FONT, MONOSPACE
from hia.demo.page import build_page
from hia.demo.samples import make_samples
from hia.demo.work import Workshop


def host(backend: Backend, address: str, port: int, samples: Path | None) -> None:
    """Serve the page until the program is interrupted. Nothing stays of what visitors brought and got.

    Raises OSError when the address cannot be had.
    """
    workshop, limits = Workshop(backend), backend.limits
    with _folder() as folder, suppress(KeyboardInterrupt):
        page = build_page(workshop, make_samples(folder, samples), folder)
        try:
            page.launch(
                server_name=address,
                server_port=port,
                max_file_size=max(limits.image_bytes, limits.video_bytes, limits.keypoint_bytes),
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                run_history=False,
                enable_monitoring=False,
                footer_links=["gradio"],
                theme=gr.themes.Default(font=FONT, font_mono=MONOSPACE),
                css=CSS,
            )
            print(f"hia demo: {page.local_url} (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
        finally:
            workshop.close()
            page.close(verbose=False)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for all files of visitors and samples, removed in the end; Gradio copies to there, too."""
    before = os.environ.get("GRADIO_TEMP_DIR")
    with tempfile.TemporaryDirectory(prefix="hia-demo-", ignore_cleanup_errors=True) as name:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(name) / "gradio")
        try:
            yield Path(name)
        finally:
            del os.environ["GRADIO_TEMP_DIR"]
            if before is not None:
                os.environ["GRADIO_TEMP_DIR"] = before
