"""The page behind an address of this machine, for as long as the program runs. Needs Gradio."""

import threading
from contextlib import suppress
from pathlib import Path

import gradio as gr
from gradio.blocks import Block
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from hia.demo.backend import Backend
from hia.demo.html import CSS, FONT, MONOSPACE
from hia.demo.page import build_page
from hia.demo.samples import make_samples
from hia.demo.session import Workshop

SCHEMES = ("http:", "https:")
REFUSED = "addresses are not opened: upload the file"


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


def only_files(page: gr.Blocks) -> None:
    """Let the page's components take uploaded files alone."""
    for block in page.blocks.values():
        ours = _FilesOnly(block)
        block.move_resource_to_block_cache = ours.move  # type: ignore[method-assign]
        block.async_move_resource_to_block_cache = ours.move_async  # type: ignore[method-assign]


class _FilesOnly:
    """Does what a component does with a file that it is given, but for addresses."""

    def __init__(self, block: Block) -> None:
        self._move, self._move_async = block.move_resource_to_block_cache, block.async_move_resource_to_block_cache

    def move(self, url_or_file_path: str | Path | None) -> str | None:
        _check_no_address(url_or_file_path)
        return self._move(url_or_file_path)

    async def move_async(self, url_or_file_path: str | Path | None) -> str | None:
        _check_no_address(url_or_file_path)
        return await self._move_async(url_or_file_path)


def _check_no_address(place: str | Path | None) -> None:
    if _is_address(str(place)):
        raise gr.Error(REFUSED, print_exception=False)


def _is_address(text: str) -> bool:
    return text.strip().lower().startswith(SCHEMES)


class NotPassedOn:
    """Answers 403 where Gradio would fetch an address and pass its content on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        _, asks_for_file, place = scope.get("path", "").partition("/file=")
        if asks_for_file and _is_address(place):
            await PlainTextResponse(REFUSED, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


MIDDLEWARE = [Middleware(NotPassedOn)]
