"""A policy in its fastest exact form: one batched step of the closed loop, without gradient."""

# mypy: disable-error-code="no-untyped-def"
# Compiled functions are typed by what they are called with.
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from driving.models.encoder import Convolution, ConvStack
from driving.models.policy import Policy, to_tensor
from driving.runtime.driver import open_session
from sim.compiled import compiled
from sim.errors import BadInputError

OPSET, IR_VERSION = 18, 8
"""Of ONNX; old enough for every ONNX Runtime that the project allows."""

N_ROWS = 16
"""Rows that a core computes at once; a vector of its fast loops, and as quick as one row."""


class Stepper:
    """``Policy.step`` on camera frames, nearly twice as fast: for driving, not for training or looking inside.

    The whitening is one pass over the bytes, with exact sums; the encoder's convolutions run in ONNX Runtime, in the
    layout that fits the processor; the core is the policy's own. One thread: processes drive side by side. What
    ONNX Runtime has no part in (a policy not in float32 on the CPU, an encoder that is no ``ConvStack``) runs in
    PyTorch, which is the definition; the two differ by rounding alone (features by 1e-5).

    A road's answer does not depend, to the last bit, on how many others are in the batch: ONNX Runtime takes picture
    after picture, and the core always gets ``N_ROWS`` rows (a product of matrices rounds differently for another
    number of them). Where the processor's library rounds by a row's place as well, which is tried once, it gets one
    row at a time.

    It holds a copy of the policy as it was: after the weights changed, make a new one (a few milliseconds). A worker
    process makes its own from the pickled policy.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = copy.deepcopy(policy).eval().requires_grad_(False)
        self._session = _session(self.policy.encoder) if _is_supported(self.policy.encoder) else None
        self._n_rows = N_ROWS if self._rows_are_alike() else 1

    @torch.no_grad()
    def step(self, frames: np.ndarray, state: Tensor, dt_s: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """One instant of B roads that do not touch one another.

        Args:
            frames: uint8 (B, H, W, 3) RGB of the policy's size.
            state: (B, ...) of the policy's core; begins as ``policy.initial_state(B)``. It is not changed.
            dt_s: float32 (B,) seconds since the frame before, above 0.

        Returns:
            Path curvature float32 (B,) in 1/m, finite and within the policy's limit, and the new state.

        Raises:
            BadInputError: frames of another type or size, another number of times, or a time that is not positive.
        """
        features, times = self.encode(frames), torch.as_tensor(dt_s)
        n = len(features)
        if times.shape != (n,):
            raise BadInputError(f"stepper: expected a dt_s of shape ({n},), got {tuple(times.shape)}")
        blocks = []
        for first in range(0, n, self._n_rows):
            rows = (_filled(x[first : first + self._n_rows], self._n_rows) for x in (features, state, times))
            blocks.append(self._block(*rows))
        curvature, state = (torch.cat(parts)[:n] for parts in zip(*blocks, strict=True))
        commands: np.ndarray = curvature.float().cpu().numpy()
        return commands, state

    @torch.no_grad()
    def _rows_are_alike(self) -> bool:
        """Do equal rows get equal answers, whichever place they have among ``N_ROWS``?"""
        parameter = next(self.policy.core.parameters())
        n = self.policy.config.core_config.n_inputs
        generator = torch.Generator().manual_seed(0)
        features = torch.rand(1, n, generator=generator).to(parameter).expand(N_ROWS, n).contiguous()
        times = torch.full((N_ROWS,), 0.05).to(parameter)
        answers = self._block(features, self.policy.initial_state(N_ROWS), times)
        return all(torch.equal(x, x[:1].expand_as(x)) for x in answers)

    def _block(self, features: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        curvature, state = self.policy.decode(features.unsqueeze(1), state, dt_s.unsqueeze(1))
        return curvature.squeeze(1), state

    @torch.no_grad()
    def encode(self, frames: np.ndarray) -> Tensor:
        """Features (B, N) of frames uint8 (B, H, W, 3), as ``Policy.encode`` gives them."""
        config = self.policy.config
        size = (config.height_px, config.width_px, 3)
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != size or not len(frames):
            raise BadInputError(
                f"stepper: expected frames (B, {', '.join(map(str, size))}) of uint8, got {frames.shape} of "
                f"{frames.dtype}"
            )
        if self._session is None:
            device = next(self.policy.parameters()).device
            return self.policy.encode(to_tensor(frames).to(device))
        return torch.from_numpy(self._session.run(None, {"whitened": _whitened(np.ascontiguousarray(frames))})[0])


def _filled(rows: Tensor, n_rows: int) -> Tensor:
    """``n_rows`` rows, the first one again where there are fewer; a single one in memory of its own, aligned."""
    if n_rows == 1:
        return rows.clone()
    return rows if len(rows) == n_rows else torch.cat([rows, rows[:1].expand(n_rows - len(rows), *rows.shape[1:])])


@compiled
def _whitened(frames):
    """``driving.models.encoder.whiten`` of contiguous uint8 (B, H, W, 3), as float32 (B, 3, H, W)."""
    n_batch, height, width, n_channels = frames.shape
    flat = frames.reshape(n_batch, -1)
    n_values = flat.shape[1]
    white = np.empty((n_batch, n_channels, height, width), np.float32)
    table = np.empty(256, np.float32)
    for b in range(n_batch):
        total, squares = np.int64(0), np.int64(0)
        for i in range(n_values):
            value = np.int64(flat[b, i])
            total += value
            squares += value * value
        mean = total / n_values
        deviation = np.sqrt(max(squares / n_values - mean * mean, 255.0 * 255.0 / n_values))
        for level in range(256):
            table[level] = (level - mean) / deviation
        for row in range(height):
            for channel in range(n_channels):
                source, target = frames[b, row], white[b, channel, row]
                for column in range(width):
                    target[column] = table[source[column, channel]]
    return white


def _is_supported(encoder: torch.nn.Module) -> bool:
    parameters = list(encoder.parameters())
    return isinstance(encoder, ConvStack) and all(
        p.dtype == torch.float32 and p.device.type == "cpu" for p in parameters
    )


def _session(encoder: ConvStack) -> Any:
    """Of ONNX Runtime: whitened pictures in, features out."""
    return open_session(_model(encoder.convolutions(), encoder.config.height_px, encoder.config.width_px))


def _model(layers: Sequence[Convolution], height_px: int, width_px: int) -> bytes:
    """Convolutions with ReLU as an ONNX model, the last map laid out flat; the batch is free."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, weights, x = [], [], "whitened"
    for i, layer in enumerate(layers):
        names = [f"weight{i}", f"bias{i}"]
        tensors = (layer.weight, layer.bias)
        weights += [numpy_helper.from_array(t.numpy(force=True), n) for t, n in zip(tensors, names, strict=True)]
        nodes.append(
            helper.make_node(
                "Conv", [x, *names], [f"sum{i}"], strides=[layer.stride] * 2, pads=layer.padding, group=layer.groups
            )
        )
        x = f"map{i}"
        nodes.append(helper.make_node("Relu", [f"sum{i}"], [x]))
    nodes.append(helper.make_node("Flatten", [x], ["features"]))
    given = helper.make_tensor_value_info("whitened", TensorProto.FLOAT, ["batch", 3, height_px, width_px])
    found = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", "n"])
    graph = helper.make_graph(nodes, "encoder", [given], [found], weights)
    opset = helper.make_opsetid("", OPSET)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION).SerializeToString())
