"""Attribution by meaning: how the command changes when all pixels of one class are covered."""

from __future__ import annotations

import torch
from torch import Tensor

from driving.attention.command import explained, plain_picture
from driving.models.policy import Policy


def class_effects(policy: Policy, frame: Tensor, state: Tensor, class_map: Tensor, n_classes: int) -> Tensor:
    """Change of the command (B, n_classes), in 1/m with its sign; 0 for a class that the picture does not show.

    Captum's feature ablation with the classes as its features. What is covered gets the picture's mean colour, which
    no road of the world has: an effect also of the outline that the cover leaves. The counterfactual world
    (``driving.study``) has no such outline.

    Args:
        frame, state: as for an attribution.
        class_map: whole numbers (B, H, W) from 0 to below ``n_classes``.
    """
    from captum.attr import FeatureAblation

    effects = torch.zeros(len(frame), n_classes)
    with explained(policy, frame, state) as (command, picture, memory), torch.no_grad():
        method = FeatureAblation(command)
        for i, classes in enumerate(class_map.long()):
            present, features = torch.unique(classes, return_inverse=True)
            found = method.attribute(
                picture[i : i + 1], baselines=plain_picture(picture[i : i + 1]), feature_mask=features[None, None],
                additional_forward_args=memory[i : i + 1], perturbations_per_eval=len(present),
            )  # fmt: skip
            for k, name in enumerate(present.tolist()):
                row, column = torch.nonzero(features == k)[0].tolist()
                effects[i, name] = found[0, 0, row, column]
    return effects
