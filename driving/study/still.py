"""A figure for papers: one picture, where each network looks in it by each method. PNG, SVG or PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from driving.attention import ATTRIBUTIONS
from driving.attention.score import on_road_share, road_area_share
from driving.models.policy import Policy, to_tensor
from sim.errors import BadInputError
from sim.files import new_file

SUFFIXES = (".png", ".svg", ".pdf")
DPI, COLUMN_INCH = 300, 2.4


@dataclass(frozen=True)
class Moment:
    """What a network sees at one instant, and what it remembers.

    Attributes:
        frame: uint8 (H, W, 3) as the network gets it.
        state: (S,) before the frame.
        road_mask: bool (H, W), if known.
    """

    frame: np.ndarray
    state: Tensor
    road_mask: np.ndarray | None = None


def check_still(path: Path) -> None:
    """``BadInputError`` for a name that says no kind of picture."""
    if path.suffix.lower() not in SUFFIXES:
        raise BadInputError(f"still: expected a name that ends with {', '.join(SUFFIXES)}, got {path.name!r}")


def save_still(
    path: Path, policies: Mapping[str, Policy], moments: Mapping[str, Moment], methods: Sequence[str], title: str
) -> None:
    """A row for each network, a column for the picture and for each method.

    Under each map: its mass on the road over the road's share of the picture (1: chance), where the road is known.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    check_still(path)
    frame = next(iter(moments.values())).frame
    shape = len(policies), 1 + len(methods)
    size = COLUMN_INCH * shape[1], COLUMN_INCH * shape[0] * (frame.shape[0] / frame.shape[1] + 0.16) + 0.35
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=8)
    axes = figure.subplots(*shape, squeeze=False)
    for row, (name, policy) in zip(axes, policies.items(), strict=True):
        moment = moments[name]
        for axis, method in zip(row, (None, *methods), strict=True):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.imshow(moment.frame, interpolation="bilinear")
            if method is not None:
                seen = ATTRIBUTIONS[method](policy, to_tensor(moment.frame[None]), moment.state.unsqueeze(0))[0].numpy()
                axis.imshow(seen, cmap="inferno", alpha=0.25 + 0.7 * seen, interpolation="bilinear", vmin=0, vmax=1)
                axis.set_xlabel(_gain(seen, moment.road_mask), fontsize=7)
                axis.set_title(method.replace("_", " "), fontsize=7)
            else:
                axis.set_ylabel(Path(name).name, fontsize=7)
                axis.set_title("picture", fontsize=7)
            if moment.road_mask is not None and moment.road_mask.any() and not moment.road_mask.all():
                axis.contour(moment.road_mask.astype(float), levels=[0.5], colors="#96d6b2", linewidths=0.6)
    with new_file(path) as unfinished:
        figure.savefig(unfinished, format=path.suffix[1:].lower())


def _gain(seen: np.ndarray, road_mask: np.ndarray | None) -> str:
    if road_mask is None or not road_mask.any():
        return ""
    share = float(on_road_share(seen, road_mask))
    return f"road {share:.0%}, {share / float(road_area_share(road_mask)):.1f} x chance"
