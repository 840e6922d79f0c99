"""The comparison video: an H.264 file that browsers play, or an animated picture, and the frames drawn for it."""

from driving.video.animation import AnimationWriter, writer_for
from driving.video.closing import Result, closing_card
from driving.video.comparison import HEIGHT_PX, MAX_PANELS, WIDTH_PX, Panel, compose
from driving.video.film import Film
from driving.video.writer import VideoWriter, save_frame

__all__ = [
    "HEIGHT_PX",
    "MAX_PANELS",
    "WIDTH_PX",
    "AnimationWriter",
    "Film",
    "Panel",
    "Result",
    "VideoWriter",
    "closing_card",
    "compose",
    "save_frame",
    "writer_for",
]
