"""The page as Gradio describes it to browsers."""

import json

import pytest

from hia.demo.samples import Motion, Samples
from hia.demo.session import AnimationRunner

gradio = pytest.importorskip("gradio")


@pytest.fixture
def page(backend, person, dance, tmp_path):
    from hia.demo.page import build_page

    return build_page(AnimationRunner(backend), Samples([person], [Motion("dance", dance, person)]), tmp_path)


def props(page, kind):
    return [component["props"] for component in page.config["components"] if component["type"] == kind]


@pytest.mark.parametrize(("marks", "said"), [(True, "AI-generated and watermarked."), (False, "AI-generated.")])
def test_it_says_what_results_are_and_whose_consent_is_needed(backend, tmp_path, marks, said):
    from hia.demo.page import build_page

    backend.watermarked = marks
    page = build_page(AnimationRunner(backend), Samples([], []), tmp_path)
    text = " ".join(props(page, "markdown")[0]["value"].split())
    assert f"Results are {said}" in text and "only with their consent" in text


def test_its_controls_stand_at_the_models_values_and_keep_its_limits(page, backend):
    sliders = {one["label"]: one for one in props(page, "slider")}
    assert sliders["Sharpness of the hands"]["value"] == backend.defaults.sharpness
    assert sliders["Guidance scale"]["value"] == backend.defaults.guidance_scale
    assert (sliders["Steps"]["value"], sliders["Steps"]["maximum"]) == (3, 20)


def test_it_tells_nobody_and_takes_nothing_from_elsewhere(page):
    assert page.analytics_enabled is False
    assert "googleapis" not in json.dumps(page.config, default=str)


def test_its_queue_is_as_long_as_the_servers(page):
    (animate,) = [function for function in page.fns.values() if function.api_name == "animate"]
    assert (page._queue.max_size, animate.concurrency_limit) == (4, 1) or animate.concurrency_limit == "default"
