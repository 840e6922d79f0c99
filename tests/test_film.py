"""Films that are drawn by a process of their own: the same as drawn here, and nothing half written whatever happens."""

import os
import signal
import time
from functools import partial

import av
import numpy as np
import pytest

from driving.video.film import Film
from sim.errors import BadInputError, WorkerLostError

SIZE = 64, 96


def grey(level):
    return np.full((*SIZE, 3), level, np.uint8)


def broken(level):
    raise OSError(28, "No space left on device")


def slow(level):
    time.sleep(0.05)
    return grey(level)


@pytest.fixture(params=[1, 2])
def workers(request):
    """With one the film is drawn here, with more in a process."""
    return request.param


def names(folder):
    return [file.name for file in folder.iterdir()]


def show_all(path, workers, *draws):
    with Film(path, 20, *SIZE, workers) as film:
        for draw in draws:
            film.show(draw)


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]


def test_film_has_every_picture_in_its_order(workers, tmp_path):
    levels = [40 + 2 * i for i in range(90)]
    with Film(tmp_path / "a.mp4", 20, *SIZE, workers) as film:
        for level in levels:
            film.show(partial(grey, level), 2 if level == 40 else 1)
        assert not (tmp_path / "a.mp4").exists()
    expected = np.array([40, *levels])
    np.testing.assert_allclose(frames_of(tmp_path / "a.mp4"), expected, atol=3)
    assert names(tmp_path) == ["a.mp4"]


def test_film_error_of_drawing_is_raised_and_leaves_nothing(workers, tmp_path):
    draws = [partial(broken if level == 3 else slow, level) for level in range(200)]
    with pytest.raises(BadInputError, match="No space left"):
        show_all(tmp_path / "a.mp4", workers, *draws)
    assert names(tmp_path) == []


def test_film_error_at_the_very_end_is_raised(workers, tmp_path):
    with pytest.raises(BadInputError, match="No space left"):
        show_all(tmp_path / "a.mp4", workers, partial(broken, 1))
    assert names(tmp_path) == []


def test_film_of_nothing_is_refused(workers, tmp_path):
    with pytest.raises(BadInputError, match="at least one frame"):
        show_all(tmp_path / "a.mp4", workers)
    assert names(tmp_path) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_film_is_given_up_with_the_work_it_was_of(workers, error, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")

    def work():
        with Film(tmp_path / "a.mp4", 20, *SIZE, workers) as film:
            film.show(partial(grey, 100))
            raise error

    with pytest.raises(error):
        work()
    assert (tmp_path / "a.mp4").read_bytes() == b"old"
    assert names(tmp_path) == ["a.mp4"]


def test_film_whose_process_is_killed_says_so(tmp_path):
    workers = 2

    def work():
        with Film(tmp_path / "a.mp4", 20, *SIZE, workers) as film:
            film.show(partial(grey, 100))
            os.kill(film._process.pid, signal.SIGKILL)
            film._process.join()
            film.show(partial(grey, 101))

    with pytest.raises(WorkerLostError, match="ended by itself"):
        work()


def test_film_of_an_odd_size_is_refused_before_anything_starts(tmp_path):
    with pytest.raises(BadInputError, match="even height"):
        Film(tmp_path / "a.mp4", 20, 63, 96)
