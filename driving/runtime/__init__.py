"""Driving without PyTorch: an exported policy on a car, with numpy, OpenCV and ONNX Runtime alone.

This folder imports nothing else of the project and is a distribution of its own: in a clone on the car ``pip install
./driving/runtime`` installs it as ``liquid_lane_runtime``, without PyTorch; the same names, the same code. Or copy it
beside the exported policy (``liquid-lane export``): numpy, opencv-python-headless and onnxruntime are all it needs.
"""

from .donkeycar import DonkeycarPilot
from .driver import Driver, Latency

__all__ = ["DonkeycarPilot", "Driver", "Latency"]
