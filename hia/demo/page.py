"""The page: what is asked for on the left, how it gets on and the result on the right. Needs Gradio."""

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from hia.demo.html import ABOUT, MARK, text_html
from hia.demo.samples import Motion, Samples
from hia.demo.session import Controls, Failed, View, Workshop, visit

MOTION_FILES, KEYPOINT_FILES = [".mp4", ".webm", ".npz", ".json"], [".npz", ".json"]
# Uploads and results are deleted once they are as old, and looked for as often, s.
CACHE_SECONDS, LOOK_SECONDS = 3600, 600
ERROR_SECONDS = 30
HIGHEST_GUIDANCE = 10.0
QUIETLY: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build_page(workshop: Workshop, samples: Samples, folder: Path) -> gr.Blocks:
    """The page. folder: where results are written, before Gradio copies them."""

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
            yield from map(_updates, visit(workshop, controls, folder))
        except Failed as failed:
            message = html.escape(str(failed), quote=False)
            raise gr.Error(message, duration=ERROR_SECONDS, print_exception=False) from None

    with gr.Blocks(
        title="Human image animation", analytics_enabled=False, delete_cache=(LOOK_SECONDS, CACHE_SECONDS)
    ) as page:
        gr.Markdown(ABOUT.format(mark=MARK if workshop.backend.marks else ""))
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                inputs = [*_files(samples), *_sliders(workshop), *_more(workshop)]
            with gr.Column(scale=3, min_width=360):
                with gr.Row():
                    start, stop = gr.Button("Animate", variant="primary", scale=3), gr.Button("Stop", scale=1)
                outputs = _outputs()
        made = start.click(animate, inputs, outputs, show_progress="hidden", api_name="animate")
        stop.click(lambda: text_html("Stopped."), None, outputs[0], cancels=[made], queue=False, **QUIETLY)
    page.queue(max_size=max(1, workshop.backend.limits.waiting), default_concurrency_limit=1)
    return page


def _files(samples: Samples) -> list[Any]:
    picture = gr.Image(label="Picture of the person", type="filepath", height=280, sources=["upload", "clipboard"])
    # Gradio would open the picture before its size has been looked at.
    picture.preprocess = _path  # type: ignore[method-assign]
    gr.Examples([[str(file)] for file in samples.pictures], [picture], label="Sample pictures")
    motion = gr.File(label="Motion: video (mp4, webm) or keypoints (npz, json)", file_types=MOTION_FILES, height=150)
    _choice_of(samples.motions, motion)
    return [picture, motion]


def _path(payload: Any) -> str | None:
    return payload.path if payload else None


def _choice_of(motions: list[Motion], chosen: gr.File) -> None:
    """Pictures that a click makes the motion of."""
    dataset = gr.Dataset(
        components=[gr.Image(visible=False)],
        samples=[[str(motion.thumbnail)] for motion in motions],
        label="Sample motions",
        type="index",
    )

    def take(number: int) -> str:
        return str(motions[number].file)

    dataset.click(take, dataset, chosen, **QUIETLY)


def _sliders(workshop: Workshop) -> list[Any]:
    defaults = workshop.backend.defaults
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


def _more(workshop: Workshop) -> list[Any]:
    """Seed, steps, align, and the keypoints that align can take."""
    defaults, limits = workshop.backend.defaults, workshop.backend.limits
    with gr.Accordion("More", open=False):
        return [
            gr.Number(0, label="Seed", info="The same seed gives the same video", precision=0, minimum=0),
            gr.Slider(1, limits.steps, defaults.steps, step=1, label="Steps", info="More: finer, slower"),
            gr.Checkbox(False, label="Align", info="Fit the motion to the person's place and limbs"),
            gr.File(label="Keypoints of the picture, for align (else: found)", file_types=KEYPOINT_FILES, height=150),
        ]


def _outputs() -> list[Any]:
    """Where a `View` is shown."""
    shown: dict[str, Any] = {"height": 460, "interactive": False}
    video = shown | {"loop": True, "buttons": ["download"]}
    return [
        gr.HTML(text_html("Choose a picture and a motion, then Animate.")),
        gr.Image(
            label="Preview: the middle frame so far", elem_classes="hia-preview", visible=False, buttons=[], **shown
        ),
        # Without a label, which would hide that of the first picture.
        gr.Video(label="Side by side", show_label=False, autoplay=True, **video),
        gr.Video(label="Result", visible=False, **video),
    ]


def _updates(view: View) -> list[Any]:
    done = view.result is not None
    return [
        view.status,
        gr.update(value=view.preview, visible=view.preview is not None),
        gr.update(value=_text(view.side_by_side), visible=done or view.preview is None),
        gr.update(value=_text(view.result), visible=done),
    ]


def _text(file: Path | None) -> str | None:
    return None if file is None else str(file)
