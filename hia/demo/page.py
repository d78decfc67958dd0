"""The page: inputs and controls on the left, progress and result on the right. Needs Gradio."""

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from hia.demo.html import ABOUT, MARK, text_html
from hia.demo.samples import Motion, Samples
from hia.demo.session import AnimationFailed, AnimationRunner, Controls, View, run_session

MOTION_FILES, KEYPOINT_FILES = [".mp4", ".webm", ".npz", ".json"], [".npz", ".json"]
# Uploads and results are deleted at this age; the cache is searched for them in this interval, s.
CACHE_SECONDS, CACHE_INTERVAL_SECONDS = 3600, 600
ERROR_SECONDS = 30
HIGHEST_GUIDANCE = 10.0
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build_page(runner: AnimationRunner, samples: Samples, folder: Path) -> gr.Blocks:
    """Build the page. folder: for results, from which Gradio copies them."""

    def animate(
        picture: str | None,
        motion: str | None,
        sharpness: float,
        guidance_scale: float,
        seed: float | None,
        steps: float,
        align: bool,
        person: str | None,
    ) -> Iterator[list[Any]]:
        """Animate a picture by a motion; the results are status, preview, side-by-side video and video."""
        controls = Controls(picture, motion, sharpness, guidance_scale, seed, steps, align, person)
        try:
            yield from map(_updates, run_session(runner, controls, folder))
        except AnimationFailed as error:
            message = html.escape(str(error), quote=False)
            raise gr.Error(message, duration=ERROR_SECONDS, print_exception=False) from None

    with gr.Blocks(
        title="Human image animation", analytics_enabled=False, delete_cache=(CACHE_INTERVAL_SECONDS, CACHE_SECONDS)
    ) as page:
        gr.Markdown(ABOUT.format(mark=MARK if runner.backend.watermarked else ""))
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                inputs = [*_files(samples), *_sliders(runner), *_more(runner)]
            with gr.Column(scale=3, min_width=360):
                with gr.Row():
                    start, stop = gr.Button("Animate", variant="primary", scale=3), gr.Button("Stop", scale=1)
                outputs = _outputs()
        made = start.click(animate, inputs, outputs, show_progress="hidden", api_name="animate")
        stop.click(lambda: text_html("Stopped."), None, outputs[0], cancels=[made], queue=False, **HIDDEN)
    page.queue(max_size=max(1, runner.backend.limits.waiting), default_concurrency_limit=1)
    return page


def _files(samples: Samples) -> list[Any]:
    picture = gr.Image(label="Picture of the person", type="filepath", height=280, sources=["upload", "clipboard"])
    # Gradio would open the picture before its size has been checked.
    picture.preprocess = _path  # type: ignore[method-assign]
    gr.Examples([[str(file)] for file in samples.pictures], [picture], label="Sample pictures")
    motion = gr.File(label="Motion: video (mp4, webm) or keypoints (npz, json)", file_types=MOTION_FILES, height=150)
    _motion_gallery(samples.motions, motion)
    return [picture, motion]


def _path(payload: Any) -> str | None:
    return payload.path if payload else None


def _motion_gallery(motions: list[Motion], chosen: gr.File) -> None:
    """Thumbnails of sample motions; a click on one chooses its motion."""
    dataset = gr.Dataset(
        components=[gr.Image(visible=False)],
        samples=[[str(motion.thumbnail)] for motion in motions],
        label="Sample motions",
        type="index",
    )

    def take(number: int) -> str:
        return str(motions[number].file)

    dataset.click(take, dataset, chosen, **HIDDEN)


def _sliders(runner: AnimationRunner) -> list[Any]:
    defaults = runner.backend.defaults
    least, most = min(1.0, defaults.guidance_scale), max(HIGHEST_GUIDANCE, defaults.guidance_scale)
    return [
        gr.Slider(0, 1, defaults.sharpness, step=0.01, label="Sharpness of the hands", info="Less: more motion blur"),
        gr.Slider(
            *(least, most, defaults.guidance_scale),
            step=0.1,
            label="Guidance scale",
            info="1: no guidance, twice as fast",
        ),
    ]


def _more(runner: AnimationRunner) -> list[Any]:
    """Seed, steps, align, and keypoints of the picture for align."""
    defaults, limits = runner.backend.defaults, runner.backend.limits
    with gr.Accordion("More", open=False):
        return [
            gr.Number(0, label="Seed", info="The same seed gives the same video", precision=0, minimum=0),
            gr.Slider(1, limits.steps, defaults.steps, step=1, label="Steps", info="More: finer, slower"),
            gr.Checkbox(False, label="Align", info="Fit the motion to the person's place and limbs"),
            gr.File(label="Keypoints of the picture, for align (else: found)", file_types=KEYPOINT_FILES, height=150),
        ]


def _outputs() -> list[Any]:
    """The components that show a `View`, in the order of `_updates`."""
    common: dict[str, Any] = {"height": 460, "interactive": False}
    video = common | {"loop": True, "buttons": ["download"]}
    return [
        gr.HTML(text_html("Choose a picture and a motion, then Animate.")),
        gr.Image(
            label="Preview: the middle frame so far", elem_classes="hia-preview", visible=False, buttons=[], **common
        ),
        # No label: it would hide the label of the first picture.
        gr.Video(label="Side by side", show_label=False, autoplay=True, **video),
        gr.Video(label="Result", visible=False, **video),
    ]


def _updates(view: View) -> list[Any]:
    """A view as values of the components of `_outputs`."""
    done = view.result is not None
    return [
        view.status,
        gr.update(value=view.preview, visible=view.preview is not None),
        gr.update(value=_text(view.side_by_side), visible=done or view.preview is None),
        gr.update(value=_text(view.result), visible=done),
    ]


def _text(file: Path | None) -> str | None:
    return None if file is None else str(file)
