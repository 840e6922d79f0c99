"""Where does a network look in a photo of yours? By several methods, beside one another.

``python -m driving.examples.look_at_a_photo photo.jpg --policy ltc19 --out looks.png``
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from driving.attention import ATTRIBUTIONS
from driving.models import checkpoint
from driving.models.policy import to_tensor
from driving.video.overlay import camera_view

METHODS = ("visual_backprop", "input_gradient", "grad_cam")


def look(photo: Image.Image, policy_name: str, methods: tuple[str, ...] = METHODS) -> tuple[plt.Figure, float]:
    """A figure with the photo under each map, and the curvature in 1/m that the network would steer."""
    policy = checkpoint.load(policy_name)
    size = policy.config.width_px, policy.config.height_px
    frame = np.array(photo.convert("RGB").resize(size, Image.Resampling.BOX))
    picture, state = to_tensor(frame[None]), policy.initial_state(1)
    with torch.no_grad():
        curvature, _ = policy.step(picture, state, 0.05)
    figure, axes = plt.subplots(len(methods), 1, figsize=(6, 2.6 * len(methods)), squeeze=False)
    for axis, method in zip(axes[:, 0], methods, strict=True):
        (attention,) = ATTRIBUTIONS[method](policy, picture, state).numpy()
        canvas = np.zeros((4 * size[1], 4 * size[0], 3), np.uint8)
        camera_view(canvas, (0, 0, 4 * size[0], 4 * size[1]), frame, attention)
        axis.imshow(canvas)
        axis.set_title(method.replace("_", " "))
        axis.axis("off")
    figure.suptitle(f"{policy_name} steers {float(curvature[0]):+.4f} 1/m (left is positive)")
    return figure, float(curvature[0])


def main() -> None:
    """Look and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    parser.add_argument("--policy", default="ltc19")
    parser.add_argument("--out", default="looks.png")
    given = parser.parse_args()
    with Image.open(given.photo) as photo:
        figure, curvature = look(photo, given.policy)
    figure.savefig(given.out, dpi=120, bbox_inches="tight")
    print(f"{given.out}: steers {curvature:+.4f} 1/m")


if __name__ == "__main__":
    main()
