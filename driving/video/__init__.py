"""The comparison video: an H.264 file that browsers play, and the frames drawn for it."""

from driving.video.comparison import HEIGHT_PX, WIDTH_PX, Panel, compose
from driving.video.writer import VideoWriter

__all__ = ["HEIGHT_PX", "WIDTH_PX", "Panel", "VideoWriter", "compose"]
