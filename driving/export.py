"""Policies for other programs: ONNX and torch.export, one step with the state going in and coming out."""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from driving.models.policy import CAR_FACTS, Policy
from driving.runtime.driver import EXPORT_FORMAT, MODEL_FILE, open_session
from sim.camera import Camera
from sim.conventions import FRAME_RATE_HZ
from sim.errors import BadInputError
from sim.files import new_file, write_json

OPSET = 18
"""Of ONNX, for older releases of ONNX Runtime on cars (1.18 and later)."""
TOLERANCE = 1e-5
"""Largest difference to PyTorch that an export may have, absolute, for numbers above 1 relative.

An ONNX model is measured against PyTorch in double precision. It sums in another order than PyTorch; in float32 both
are off by up to 1e-5 at a neuron with steep synapses, and their difference would be the sum of two errors.
"""
TORCH_FILE, META_FILE = "policy.pt2", "policy.json"
FORMATS = {"onnx": MODEL_FILE, "torch": TORCH_FILE}
DESCRIPTIONS = {
    "frame": "uint8 (B, height_px, width_px, 3), RGB",
    "state": "float32 (B, S), what it remembers: initial_state at first, then the last new_state",
    "dt_s": "float32 (B,), seconds since the frame before, above 0",
    "curvature_per_m": "float32 (B,), path curvature in 1/m, left positive, within max_curvature_per_m",
    "new_state": "float32 (B, S), what it remembers now",
}
INPUTS, OUTPUTS = tuple(DESCRIPTIONS)[:3], tuple(DESCRIPTIONS)[3:]
N_CHECKED_FRAMES = 16
BATCH_AXIS = "batch"


class PolicyStep(nn.Module):
    """One step of a policy with a camera's own frames: what is exported."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, frame: Tensor, state: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """frame uint8 (B, H, W, 3) RGB, state (B, ...), dt_s (B,) > 0 -> curvature (B,) in 1/m, new state."""
        features = self.policy.encode(frame.permute(0, 3, 1, 2))
        output, new_state = self.policy.core(features, state, dt_s)
        return self.policy.curvature(output.squeeze(-1)), new_state


def export(policy: Policy, folder: Path, name: str, format_name: str = "onnx") -> tuple[list[Path], float]:
    """Write the policy into ``folder`` as ``policy.onnx`` or ``policy.pt2``, and ``policy.json`` beside it.

    Inputs ``frame`` uint8 (B, H, W, 3) RGB, ``state`` float32 (B, ...), ``dt_s`` float32 (B,) in seconds; outputs
    ``curvature_per_m`` (B,), left positive, and ``new_state``. B is free. Whitening and the limit of the command
    are inside. The metadata (``metadata``) stands in the ONNX model too.

    Args:
        name: of the policy, for the metadata.
        format_name: a key of ``FORMATS``.

    Returns:
        The files written, and the largest difference to PyTorch (``difference``) on frames of noise.

    Raises:
        BadInputError: an unknown format, packages missing, a folder that cannot be written, or a difference above
            ``TOLERANCE`` (nothing is written then).
    """
    if format_name not in FORMATS:
        raise BadInputError(f"format: expected one of {', '.join(FORMATS)}, got {format_name!r}")
    if format_name == "onnx":
        require_packages("onnxscript")
    policy = copy.deepcopy(policy).cpu().eval()
    meta = metadata(policy, name)
    program = _traced(policy)
    reference = policy
    if format_name == "onnx":
        data = _onnx(program, meta)
        step, reference = onnx_step(data), copy.deepcopy(policy).double()
    else:
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        data = buffer.getvalue()
        step = torch_step(io.BytesIO(data))
    rng = np.random.default_rng(0)
    shape = (N_CHECKED_FRAMES, policy.config.height_px, policy.config.width_px, 3)
    frames = rng.integers(0, 256, shape, dtype=np.uint8)
    worst = difference(reference, step, frames, rng.uniform(0.02, 0.2, N_CHECKED_FRAMES))
    if not worst <= TOLERANCE:
        raise BadInputError(
            f"export: the {format_name} model differs from PyTorch by {worst:.1e}, more than {TOLERANCE:g}; "
            "try other releases of torch and onnxruntime"
        )
    paths = [folder / FORMATS[format_name], folder / META_FILE]
    with new_file(paths[0]) as unfinished:
        unfinished.write_bytes(data)
    write_json(paths[1], meta)
    return paths, worst


def metadata(policy: Policy, name: str) -> dict[str, Any]:
    """What another program must know of an exported policy: units, limits, versions, the first state."""
    config = policy.config
    camera = Camera().resized(config.height_px, config.width_px)
    return {
        "format": EXPORT_FORMAT,
        "policy": name,
        "core": config.core,
        "liquid_lane": importlib.metadata.version("liquid-lane"),
        "opset": OPSET,
        **{name: text for name, text in DESCRIPTIONS.items() if name != "dt_s"},
        "height_px": config.height_px,
        "width_px": config.width_px,
        "horizon": round((camera.horizon_v_px + 0.5) / config.height_px, 6)
        if config.horizon is None
        else config.horizon,
        **{name: value for name in CAR_FACTS[1:] if (value := getattr(config, name)) is not None},
        "max_curvature_per_m": config.max_curvature_per_m,
        "dt_s": 1.0 / FRAME_RATE_HZ,
        "initial_state": policy.initial_state(1)[0].tolist(),
    }


def difference(policy: Policy, step: Any, frames: Iterable[np.ndarray], dt_s: Iterable[float]) -> float:
    """Largest difference between a step and PyTorch over frames (H, W, 3), each carrying its own state along.

    Of the curvature and of every state, |a - b| / max(1, |b|); ``step(frame, state, dt_s)`` takes and gives float32
    arrays, PyTorch computes in the policy's type.
    """
    reference = PolicyStep(policy)
    state = policy.initial_state(1)
    other = state.numpy().astype(np.float32)
    worst = 0.0
    for frame, dt in zip(frames, dt_s, strict=True):
        times = np.array([dt], np.float32)
        with torch.no_grad():
            curvature, state = reference(torch.from_numpy(frame)[None], state, torch.from_numpy(times).to(state.dtype))
        answers = step(frame[None], other, times)
        other = answers[1]
        for a, b in zip(answers, (curvature.numpy(), state.numpy()), strict=True):
            off = np.abs(a - b) / np.maximum(1.0, np.abs(b))
            worst = max(worst, float(np.max(off, initial=0.0)) if np.isfinite(off).all() else np.inf)
    return worst


def onnx_step(model: bytes | str) -> Any:
    """An ONNX model, as bytes or path, as a function of arrays (frame, state, dt_s); one thread."""
    session = open_session(model)
    return lambda *arrays: session.run(list(OUTPUTS), dict(zip(INPUTS, arrays, strict=True)))


def torch_step(file: Any) -> Any:
    """A saved program of torch.export, as path or open file, as a function of arrays (frame, state, dt_s)."""
    module = torch.export.load(file).module()

    @torch.no_grad()
    def step(*arrays: np.ndarray) -> list[np.ndarray]:
        return [answer.numpy() for answer in module(*map(torch.from_numpy, arrays))]

    return step


def require_packages(*names: str) -> None:
    """``BadInputError`` that says what to install if one of the packages is missing."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise BadInputError(f"export: {', '.join(missing)} not installed; run: pip install 'liquid-lane[deploy]'")


def _traced(policy: Policy) -> Any:
    """The step as a program of torch.export for any batch."""
    n_batch = 2  # torch.export takes a size of 1 for a fixed one
    frame = torch.zeros(n_batch, policy.config.height_px, policy.config.width_px, 3, dtype=torch.uint8)
    arguments = (frame, policy.initial_state(n_batch), torch.full((n_batch,), 1.0 / FRAME_RATE_HZ))
    batch = {0: torch.export.Dim("batch", min=1)}
    with torch.no_grad():
        return torch.export.export(PolicyStep(policy), arguments, dynamic_shapes=dict.fromkeys(INPUTS, batch))


def _onnx(program: Any, meta: dict[str, Any]) -> bytes:
    """The ONNX model of a traced program, with its metadata inside."""
    more_exact: dict[Any, Callable[..., Any]] = {
        torch.ops.aten.var_mean.correction: _var_mean_by_axis,
        torch.ops.aten.einsum.default: _dense_in_double,
    }
    program = program.run_decompositions(more_exact)
    written: Any = torch.onnx.export(
        program, dynamo=True, input_names=INPUTS, output_names=OUTPUTS, opset_version=OPSET, verbose=False
    )
    model = written.model_proto
    _tidy(model)
    model.producer_name, model.producer_version = "liquid-lane", meta["liquid_lane"]
    model.doc_string = f"{meta['policy']}: a camera picture and a memory in, the curvature of the path out"
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = DESCRIPTIONS[value.name]
    for key, value in meta.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
    return bytes(model.SerializeToString())


def _tidy(model: Any) -> None:
    """Name the free axis, and take out what the exporter notes of the machine: places in its source files."""
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    free = {
        dim.dim_param
        for given in model.graph.input
        for dim in given.type.tensor_type.shape.dim
        if dim.HasField("dim_param")
    }
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in free:
                dim.dim_param = BATCH_AXIS


def _var_mean_by_axis(
    x: Tensor, dim: Sequence[int], correction: int = 1, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    """``torch.var_mean`` one axis after the other, for the whitening.

    ONNX Runtime sums one number after the other in float32: over all pixels at once it would be wrong by 1e-5,
    forty times more than PyTorch; over a row, then over the rows, it is as good.
    """
    assert correction == 0, "a variance with the divisor n"
    assert keepdim, "dimensions that stay"
    mean = x
    for axis in dim[::-1]:
        mean = mean.mean(axis, keepdim=True)
    variance = (x - mean).square()
    for axis in dim[::-1]:
        variance = variance.mean(axis, keepdim=True)
    return variance, mean


def _dense_in_double(equation: str, tensors: Sequence[Tensor], path: Any = None) -> Tensor:
    """The encoder's dense layers, summed in double precision.

    They sum 250 products that nearly cancel: most of the rounding of a feature comes from there.
    """
    assert equation == "bcp,cpk->bck", "the dense layers of driving.models.encoder"
    maps, weight = (tensor.double() for tensor in tensors)
    return (maps.unsqueeze(-1) * weight).sum(2).float()
