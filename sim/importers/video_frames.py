"""Frames of several videos as the frames of one drive."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from sim.reading import Cutout
from sim.video_file import VideoFile

Place = tuple[VideoFile, int]
"""A video and the number of a frame in it; what an importer keeps as a row's picture."""


def frames_at(places: Sequence[Place]) -> Iterator[np.ndarray | str]:
    """A frame, uint8 (H, W, 3), or the reason why it is not there, for each place; ascending within a video."""
    for _, group in itertools.groupby(places, key=lambda place: place[0].path):
        in_one = list(group)
        yield from in_one[0][0].frames([frame for _, frame in in_one])


def video_frames(cutout: Cutout) -> Callable[[list[Place]], Iterator[np.ndarray | str]]:
    """For ``Rows.recording``: from the places of rows to the frames of a drive."""

    def frames(wanted: list[Place]) -> Iterator[np.ndarray | str]:
        size = cutout.source.height_px, cutout.source.width_px
        for picture in frames_at(wanted):
            if isinstance(picture, str):
                yield picture
            else:
                yield cutout.apply(picture) if picture.shape[:2] == size else "video of another size"

    return frames


def shown_at(places: Sequence[Place]) -> Iterator[tuple[int, np.ndarray]]:
    """Row and picture, in order, of those that can be decoded."""
    for row, picture in enumerate(frames_at(places)):
        if not isinstance(picture, str):
            yield row, picture
