"""A page about one comparison: finding, video, tables and traces in a single HTML file.

``write_report`` takes the plain dictionary that is also saved as ``metrics.json``; its keys:

====================  ================================================================================
``command``           the command line that makes it again
``seeds``             of the roads, a list of whole numbers
``seconds``           of each episode, at most
``lane_half_width_m`` distance from the lane's centre to its edge
``drive``             list, one entry a policy and noise: ``policy``, ``title``, ``noise`` ("none" or
                      "gaussian:0.1"), ``crashes``, ``km``, ``crashes_per_km``,
                      ``mean_abs_lateral_offset_m``, ``frames_per_s``, and ``episodes``: list of ``seed``,
                      ``crashed``, ``distance_m``, ``mean_abs_offset_m``
``attention``         ``method``, ``road_area_share`` and ``policies``: by policy ``on_road_share``,
                      ``untrained_on_road_share``, ``ssim_clean_noisy``, ``n_frames``
``traces``            list, one entry an episode to draw: ``policy``, ``noise``, ``seed``, ``time_s`` and
                      ``lateral_offset_m`` (lists of one length)
====================  ================================================================================

A figure that is not known is ``None`` or nan and is shown as a dash.
"""

from __future__ import annotations

from pathlib import Path

from driving.report.finding import finding
from driving.report.page import REPORT_PAGE, gallery, page
from driving.report.words import Figures
from sim.files import write_text

__all__ = ["finding", "write_gallery", "write_report"]

REPORT_NAME = REPORT_PAGE
GALLERY_NAME = "index.html"


def write_report(folder: str | Path, figures: Figures) -> Path:
    """Writes ``report.html`` into ``folder``, beside ``comparison.mp4``, and returns its path.

    The file stands alone (style and plots inside, nothing fetched) but for the video it points to. Raises
    ``BadInputError`` where the folder cannot be written.
    """
    path = Path(folder) / REPORT_NAME
    write_text(path, page(figures))
    return path


def write_gallery(folder: str | Path, figures: Figures) -> Path:
    """Writes ``index.html``, what a static host shows first of ``folder``: video, finding, and links to the rest."""
    path = Path(folder) / GALLERY_NAME
    write_text(path, gallery(figures))
    return path
