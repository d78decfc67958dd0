"""The queue of requests, and the one thread in which the model is loaded and used."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hia.models.animation_model import AnimationModel, save_model
from hia.models.build import build_animator
from hia.models.codec import build_codec
from hia.serving import loading
from hia.serving.errors import Busy, OutOfTime
from hia.serving.loading import load_generator
from hia.serving.queue import RequestContext, RequestQueue, SingleThreadExecutor
from hia.serving.schema import parse_request
from tests.serving.example_requests import LIMITS, good_row


def test_a_line_takes_one_and_those_who_may_wait():
    queue, leave, inside, busy = RequestQueue(waiting=4), threading.Event(), [], []

    def come(number: int) -> None:
        try:
            with queue.admitted():
                inside.append(number)
                leave.wait(20)
        except Busy:
            busy.append(number)

    threads = [threading.Thread(target=come, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    while len(inside) + len(busy) < 50:
        time.sleep(0.01)
    assert (len(inside), len(busy), queue.full) == (5, 45, True)
    leave.set()
    for thread in threads:
        thread.join()
    assert not queue.full
    with queue.admitted():
        assert not queue.full


def test_one_at_a_time_has_the_turn():
    queue, present, most = RequestQueue(waiting=8), [], []

    def take(number: int) -> None:
        with queue.turn(RequestContext(20)):
            present.append(number)
            most.append(len(present))
            time.sleep(0.01)
            present.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(take, range(8)))
    assert most == [1] * 8


def test_waiting_ends_when_time_is_up_or_the_client_leaves():
    queue, gone = RequestQueue(waiting=4), RequestContext(20)
    gone.cancel()
    with queue.turn(RequestContext(20)):
        for context in (RequestContext(0.2), gone):
            with pytest.raises(OutOfTime), queue.turn(context):
                raise AssertionError("two at once")


def test_one_thread_does_the_work_of_all_and_gives_them_its_errors():
    thread, seen = SingleThreadExecutor(), set()

    def work(number: int) -> int:
        seen.add(threading.get_ident())
        return 6 // number

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda number: thread.run(lambda: work(number)), (1, 2, 3, 6))) == [6, 3, 2, 1]
    with pytest.raises(ZeroDivisionError):
        thread.run(lambda: work(0))
    assert len(seen) == 1 and threading.get_ident() not in seen


def test_a_model_is_loaded_and_used_in_one_thread(tiny_config, tmp_path, monkeypatch):
    config, seen = tiny_config(), []
    save_model(
        AnimationModel(config, build_animator(config, motion=True)[0], build_codec(config.codec)), tmp_path / "model"
    )
    load = loading.load_model

    def loaded(directory):
        seen.append(threading.get_ident())
        model = load(directory)
        model.animator.unet.register_forward_pre_hook(lambda *_: seen.append(threading.get_ident()))
        return model

    monkeypatch.setattr(loading, "load_model", loaded)
    generator = load_generator(tmp_path / "model", LIMITS, watermark=False)
    request = parse_request(good_row(), {"steps": 1}, LIMITS)
    with ThreadPoolExecutor(2) as threads:
        videos = list(threads.map(lambda _: generator.generate(request, RequestContext(60)).data, range(2)))
    assert videos[0] == videos[1] and len(seen) > 2 and len(set(seen)) == 1
