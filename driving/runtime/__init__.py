"""Driving without PyTorch: an exported policy on a car, with numpy, OpenCV and ONNX Runtime alone.

This folder imports nothing else of the project, so it may be copied alone to the car, beside the exported
policy (``liquid-lane export``). ``pip install numpy opencv-python-headless onnxruntime`` is all it needs.
"""

from .donkeycar import DonkeycarPilot
from .driver import Driver, Latency

__all__ = ["DonkeycarPilot", "Driver", "Latency"]
