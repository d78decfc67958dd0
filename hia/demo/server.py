"""The web server of the demo, which opens no URL that a user gives. Needs Gradio.

Gradio itself would: its API takes URLs for files, and its server fetches them and passes their content on. It refuses
private addresses only, so that the page would be a way into the internet.
"""

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
from hia.demo.session import AnimationRunner

SCHEMES = ("http:", "https:")
REFUSAL = "addresses are not opened: upload the file"


def serve_page(backend: Backend, address: str, port: int, folder: Path, samples: Path | None) -> None:
    """Serve the page until the program is interrupted. folder: for samples and results; samples: see `make_samples`.

    Raises OSError when the address is not available.
    """
    runner, limits = AnimationRunner(backend), backend.limits
    with suppress(KeyboardInterrupt):
        page = build_page(runner, make_samples(folder, samples), folder)
        refuse_urls(page)
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
            runner.close()
            page.close(verbose=False)


def refuse_urls(page: gr.Blocks) -> None:
    """Make the page's components accept uploaded files only."""
    for block in page.blocks.values():
        ours = _FileMover(block)
        block.move_resource_to_block_cache = ours.move  # type: ignore[method-assign]
        block.async_move_resource_to_block_cache = ours.move_async  # type: ignore[method-assign]


class _FileMover:
    """Moves uploaded files to a component's cache, as the component does, but refuses URLs."""

    def __init__(self, block: Block) -> None:
        self._move, self._move_async = block.move_resource_to_block_cache, block.async_move_resource_to_block_cache

    def move(self, url_or_file_path: str | Path | None) -> str | None:
        _check_no_url(url_or_file_path)
        return self._move(url_or_file_path)

    async def move_async(self, url_or_file_path: str | Path | None) -> str | None:
        _check_no_url(url_or_file_path)
        return await self._move_async(url_or_file_path)


def _check_no_url(path: str | Path | None) -> None:
    if _is_url(str(path)):
        raise gr.Error(REFUSAL, print_exception=False)


def _is_url(text: str) -> bool:
    return text.strip().lower().startswith(SCHEMES)


class UrlProxyGuard:
    """ASGI middleware that answers 403 where Gradio would fetch a URL and pass its content on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on a request."""
        _, is_file, path = scope.get("path", "").partition("/file=")
        if is_file and _is_url(path):
            await PlainTextResponse(REFUSAL, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


MIDDLEWARE = [Middleware(UrlProxyGuard)]
