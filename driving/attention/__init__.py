"""Where a policy looks: attribution methods of one contract, and scores of their maps.

An attribution is ``f(policy, frame (B, 3, H, W), state (B, S)) -> map (B, H, W)``: frames uint8, or float in [0, 1];
the whole recurrent policy from its state on, over one step of ``1 / FRAME_RATE_HZ`` seconds; non-negative, each map
min-max normalised to [0, 1] on its own, a constant map becomes zeros. No argument, parameter, gradient or mode is
changed, and a picture's map does not depend on the others of its batch. One file a method; what it holds for is in
``driving/attention/README.md``.
"""

from __future__ import annotations

from functools import partial

from driving.attention.command import Attribution
from driving.attention.grad_cam import grad_cam
from driving.attention.guided_backprop import guided_backprop
from driving.attention.guided_grad_cam import guided_grad_cam
from driving.attention.input_gradient import input_gradient
from driving.attention.integrated_gradients import integrated_gradients
from driving.attention.occlusion import occlusion
from driving.attention.smooth_grad import smooth_grad
from driving.attention.visual_backprop import visual_backprop

ATTRIBUTIONS: dict[str, Attribution] = {
    "visual_backprop": visual_backprop,
    "visual_backprop_published": partial(visual_backprop, is_published=True),
    "input_gradient": input_gradient,
    "smooth_grad": smooth_grad,
    "integrated_gradients": integrated_gradients,
    "grad_cam": grad_cam,
    "guided_backprop": guided_backprop,
    "guided_grad_cam": guided_grad_cam,
    "occlusion": occlusion,
}

__all__ = [
    "ATTRIBUTIONS",
    "Attribution",
    "grad_cam",
    "guided_backprop",
    "guided_grad_cam",
    "input_gradient",
    "integrated_gradients",
    "occlusion",
    "smooth_grad",
    "visual_backprop",
]
