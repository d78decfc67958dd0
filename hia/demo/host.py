"""The page behind an address of this machine, for as long as the program runs. Needs Gradio."""

import threading
from contextlib import suppress
from pathlib import Path

import gradio as gr

from hia.demo.addresses import MIDDLEWARE, only_files
from hia.demo.backend import Backend
from hia.demo.looks import CSS, FONT, MONOSPACE
from hia.demo.page import build_page
from hia.demo.samples import make_samples
from hia.demo.work import Workshop


def host(backend: Backend, address: str, port: int, folder: Path, samples: Path | None) -> None:
    """Serve the page until the program is interrupted. folder: for samples and results; samples: see `make_samples`.

    Raises OSError when the address cannot be had.
    """
    workshop, limits = Workshop(backend), backend.limits
    with suppress(KeyboardInterrupt):
        page = build_page(workshop, make_samples(folder, samples), folder)
        only_files(page)
        try:
            page.launch(
                server_name=address,
                server_port=port,
                max_file_size=max(limits.image_bytes, limits.video_bytes, limits.keypoint_bytes),
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                app_kwargs={"middleware": MIDDLEWARE},
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
