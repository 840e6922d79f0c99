"""A driving policy: encoder and core, pictures in and path curvature out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from driving.models.baselines import GRUConfig, GRUCore, LSTMConfig, LSTMCore
from driving.models.cfc import CfC, CfCConfig, WiredCfC, WiredCfCConfig
from driving.models.ctrnn import CTRNNConfig, CTRNNCore
from driving.models.encoder import ConvStack, Encoder, EncoderConfig
from driving.models.feedforward import FeedforwardConfig, FeedforwardCore, PaperCNNEncoder, PilotNetEncoder
from driving.models.ltc import LTC, LTCConfig
from driving.models.wiring import PAPER_CIRCUIT, Wiring, WiringConfig
from sim.checks import FINITE, POSITIVE, check_choice, check_numbers
from sim.conventions import FRAME_HEIGHT_PX, FRAME_RATE_HZ, FRAME_WIDTH_PX, MAX_CURVATURE_PER_M
from sim.errors import BadInputError

CORES: dict[str, tuple[type[Any], type[Any]]] = {
    core.kind: (config, core)
    for config, core in (
        (LTCConfig, LTC),
        (LSTMConfig, LSTMCore),
        (GRUConfig, GRUCore),
        (CTRNNConfig, CTRNNCore),
        (CfCConfig, CfC),
        (WiredCfCConfig, WiredCfC),
        (FeedforwardConfig, FeedforwardCore),
    )
}
"""Every core by name: its configuration and its class. A core added here is tested by being here."""

ENCODERS: dict[str, type[ConvStack]] = {"shared": Encoder, "cnn": PaperCNNEncoder, "pilotnet": PilotNetEncoder}
"""Every encoder by name: the head that all cores share, and those of two networks without memory."""

HEADS = {"shared": ("100-50-10", True), "cnn": ("1000-100", False), "pilotnet": ("100-50-10", True)}
"""Layers and output bias that core feedforward takes by default on each encoder; see ``FeedforwardConfig``."""

CORE_PREFIX = "core_"
GIVEN_WIRING = f"{CORE_PREFIX}wiring"
CAR_FACTS = ("horizon", "camera_horizon", "wheelbase_m", "full_lock_rad")
"""Settings of a policy that was trained for one car."""
CURVATURE_UNIT_PER_M = 0.02
"""Unit of a policy with the limit ``MAX_CURVATURE_PER_M``, a road car's."""
FRAME_RANGE = (-3.0, 4.0)
"""Pixels are clamped to this: pictures are in [0, 1], and strong noise before whitening may leave it."""
NAN_PIXEL = 0.5
"""A pixel that is not a number counts as mid grey."""


@dataclass(frozen=True)
class PolicyConfig:
    """Settings of a policy, saved beside its weights.

    Attributes:
        core: name in ``CORES``.
        core_config: settings of that core; left out, the core's defaults.
        height_px, width_px: size of the pictures.
        max_curvature_per_m: limit of the command; it is approached smoothly (tanh).
        curvature_unit_per_m: curvature that a core output of 1 stands for near zero, so that cores and losses
            work with numbers around 1.
        horizon: row of the horizon in these pictures, as a share of the height; None: that of the world's camera.
        camera_horizon: the same in the whole picture of the camera it was trained for; None: not known.
        wheelbase_m, full_lock_rad: of the car it was trained for; None: it was not one car.
        encoder: name in ``ENCODERS``. With core "feedforward" and its default settings, "cnn" is the
            feed-forward baseline of Lechner et al. 2020 and "pilotnet" is PilotNet.
    """

    core: str = "ltc"
    core_config: Any = None
    height_px: int = FRAME_HEIGHT_PX
    width_px: int = FRAME_WIDTH_PX
    max_curvature_per_m: float = MAX_CURVATURE_PER_M
    curvature_unit_per_m: float = CURVATURE_UNIT_PER_M
    encoder: str = "shared"
    horizon: float | None = None
    camera_horizon: float | None = None
    wheelbase_m: float | None = None
    full_lock_rad: float | None = None

    def __post_init__(self) -> None:
        check_choice("policy", "core", self.core, CORES)
        check_choice("policy", "encoder", self.encoder, ENCODERS)
        config_class = CORES[self.core][0]
        n_features = self._n_features()
        if self.core_config is None:
            object.__setattr__(self, "core_config", self._default_core_config(n_features))
        if type(self.core_config) is not config_class:
            raise BadInputError(f"policy: core {self.core} needs a {config_class.__name__}, got {self.core_config!r}")
        if self.core_config.n_inputs != n_features:
            raise BadInputError(
                f"policy: encoder {self.encoder} gives {n_features} features, but the settings of core "
                f"{self.core} expect {self.core_config.n_inputs}; change its number of inputs"
            )
        if getattr(self.core_config, "wiring", PAPER_CIRCUIT).n_motor != 1:
            raise BadInputError("policy: the wiring must have 1 motor neuron, the steering")
        check_numbers("policy", self, POSITIVE, "max_curvature_per_m", "curvature_unit_per_m")
        check_numbers("policy", self, FINITE, *CAR_FACTS)

    def _n_features(self) -> int:
        size = EncoderConfig(self.height_px, self.width_px)
        return ENCODERS[self.encoder].n_features(size)

    def _default_core_config(self, n_features: int) -> Any:
        config_class = CORES[self.core][0]
        if config_class is FeedforwardConfig:
            return FeedforwardConfig(n_features, *HEADS[self.encoder])
        has_inputs = "n_inputs" in {f.name for f in dataclasses.fields(config_class)}
        return config_class(n_inputs=n_features) if has_inputs else config_class()

    def to_dict(self) -> dict[str, Any]:
        """One flat dictionary for json, the core's settings as ``core_...``; undone by ``from_dict``.

        Settings of a wiring become ``core_wiring_...``.
        """
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "core_config"}
        return own | _flat(CORE_PREFIX, self.core_config)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> PolicyConfig:
        """The settings that ``to_dict`` wrote; ``BadInputError`` for any other key or type."""
        core: Any = plain.get("core")
        check_choice("policy", "core", core, CORES)
        expected = cls(core=core).to_dict()
        if GIVEN_WIRING in plain:  # the circuit's own table in the place of settings to build one
            if not any(name.startswith(f"{GIVEN_WIRING}_") for name in expected):
                raise BadInputError(f"policy: core {core} has no wiring")
            expected = {name: v for name, v in expected.items() if not name.startswith(f"{GIVEN_WIRING}_")}
            expected[GIVEN_WIRING] = {}
        plain = dict.fromkeys(CAR_FACTS) | dict(plain)  # older policies were of no car in particular
        missing, unknown = sorted(expected.keys() - plain.keys()), sorted(plain.keys() - expected.keys())
        if missing or unknown:
            raise BadInputError(
                f"policy: settings of core {core}: missing {', '.join(missing) or 'none'}, "
                f"unknown {', '.join(unknown) or 'none'}"
            )
        for name, default in expected.items():
            allowed: tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
            if name in CAR_FACTS:
                allowed = (type(None), int, float)
            if type(plain[name]) not in allowed:
                raise BadInputError(f"policy: {name} must be a {allowed[-1].__name__}, got {plain[name]!r}")
        own: dict[str, Any] = {f.name: plain[f.name] for f in dataclasses.fields(cls) if f.name != "core_config"}
        return cls(core_config=_unflat(CORE_PREFIX, CORES[core][0], plain), **own)


def _flat(prefix: str, config: Any) -> dict[str, Any]:
    """Settings with the prefix before their names; those of a wiring inside with ``wiring_`` as well, a table whole."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        name, value = prefix + field.name, getattr(config, field.name)
        if isinstance(value, WiringConfig):
            flat |= _flat(f"{name}_", value)
        else:
            flat[name] = value.to_dict() if isinstance(value, Wiring) else value
    return flat


def _unflat(prefix: str, config_class: type[Any], plain: Mapping[str, Any]) -> Any:
    """The settings that ``_flat`` took apart."""
    values = {}
    for field in dataclasses.fields(config_class):
        name = prefix + field.name
        if not isinstance(field.default, WiringConfig):
            values[field.name] = plain[name]
        elif name in plain:
            values[field.name] = Wiring.from_dict(plain[name])
        else:
            values[field.name] = _unflat(f"{name}_", WiringConfig, plain)
    return config_class(**values)


class Policy(nn.Module):
    """Encoder, then core, then ``curvature = max tanh(y unit / max)`` of the core's output y.

    The command is finite and within +-``max_curvature_per_m`` whatever the frames hold: pixels that are not
    numbers count as ``NAN_PIXEL`` and all are clamped to ``FRAME_RANGE``. Frames are RGB, float in [0, 1] or
    uint8. The state is an argument, never an attribute.

    Attributes:
        config, encoder, core: public parts.
    """

    def __init__(self, config: PolicyConfig | None = None) -> None:
        super().__init__()
        self.config = config or PolicyConfig()
        size = EncoderConfig(self.config.height_px, self.config.width_px)
        self.encoder = ENCODERS[self.config.encoder](size)
        self.core = CORES[self.config.core][1](self.config.core_config)
        # The nearest float32 may lie above the limit; the command must not.
        limit = np.float32(self.config.max_curvature_per_m)
        above = float(limit) > self.config.max_curvature_per_m
        self._limit_per_m = float(np.nextafter(limit, np.float32(0)) if above else limit)

    @property
    def title(self) -> str:
        """What people call a network of its kind."""
        title: str = self.core.title
        return title

    @property
    def max_curvature_per_m(self) -> float:
        """Limit of the command."""
        return self.config.max_curvature_per_m

    def initial_state(self, batch: int) -> Tensor:
        """The core's state (B, ...) before the first frame."""
        state: Tensor = self.core.initial_state(batch)
        return state

    def __repr__(self) -> str:
        n, config = sum(p.numel() for p in self.parameters()), self.config
        return (
            f"Policy({config.core}, encoder {config.encoder}, {config.height_px} x {config.width_px}, {n:,} parameters)"
        )

    def step(self, frame: Tensor, state: Tensor, dt_s: float | Tensor) -> tuple[Tensor, Tensor]:
        """One frame (B, 3, H, W) -> curvature (B,) in 1/m, state; ``dt_s`` is a number or (B,)."""
        features = self.encode(frame)  # (B, N)
        output, state = self.core(features, state, self._dt_s(dt_s, features.shape[:1], features))
        return self.curvature(output.squeeze(-1)), state

    def forward(
        self, frames: Tensor, state: Tensor | None = None, dt_s: float | Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """A sequence: frames (B, T, 3, H, W) -> curvature (B, T) in 1/m and the last state.

        ``state`` begins at ``initial_state``; ``dt_s`` is a number or (B, T), else 1 / ``FRAME_RATE_HZ``.
        Equal to T calls of ``step``.
        """
        if frames.dim() != 5:
            raise BadInputError(f"policy: expected frames (B, T, 3, H, W), got {tuple(frames.shape)}")
        features = self.encode(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])  # (B, T, N)
        return self.decode(features, state, dt_s)

    def encode(self, frames: Tensor) -> Tensor:
        """Features (B, N) of frames (B, 3, H, W), made safe as the class says: first half of ``forward``."""
        dtype = next(self.encoder.parameters()).dtype
        if frames.dtype == torch.uint8:
            safe = frames.to(dtype) / 255.0
        elif frames.is_floating_point():
            low, high = FRAME_RANGE
            safe = torch.nan_to_num(frames.to(dtype), nan=NAN_PIXEL, posinf=high, neginf=low).clamp(low, high)
        else:
            raise BadInputError(f"policy: expected frames of uint8 or float, got {frames.dtype}")
        features: Tensor = self.encoder(safe).to(dtype)  # autocast may have made them bfloat16
        return features

    def decode(
        self, features: Tensor, state: Tensor | None = None, dt_s: float | Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features (B, T, N) -> curvature (B, T) in 1/m and the last state: second half of ``forward``."""
        if state is None:
            state = self.initial_state(features.shape[0])
        dt_s = self._dt_s(1.0 / FRAME_RATE_HZ if dt_s is None else dt_s, features.shape[:2], features)
        outputs, state = self.core.forward_sequence(features, state, dt_s)
        return self.curvature(outputs.squeeze(-1)), state

    def curvature(self, output: Tensor) -> Tensor:
        """The command in 1/m, within the limit, of the core's output; any shape (see the class)."""
        return self._limit_per_m * torch.tanh(output * (self.config.curvature_unit_per_m / self._limit_per_m))

    @staticmethod
    def _dt_s(dt_s: float | Tensor, shape: torch.Size, like: Tensor) -> Tensor:
        """``dt_s`` as a tensor of the given shape, checked."""
        given = torch.as_tensor(dt_s, dtype=like.dtype, device=like.device)
        if given.dim() and given.shape != shape:
            raise BadInputError(f"policy: dt_s must be a number or {tuple(shape)}, got {tuple(given.shape)}")
        if not bool(((given > 0) & torch.isfinite(given)).all()):
            raise BadInputError("policy: dt_s must be positive seconds, got zero, a negative or no number")
        return given.expand(shape)


def build_policy(config: PolicyConfig | None = None, seed: int = 0) -> Policy:
    """A new policy whose weights depend on ``config`` and ``seed`` alone; global streams stay as found.

    The encoder is drawn first, so policies of one seed and picture size begin with the same encoder.
    """
    with torch.random.fork_rng(devices=[]):  # no device: only the CPU stream is touched below
        torch.default_generator.manual_seed(seed)
        return Policy(config)


def to_tensor(frames: np.ndarray) -> Tensor:
    """uint8 (..., H, W, 3) -> uint8 (..., 3, H, W), a view whose memory stays channels-last."""
    return torch.from_numpy(np.ascontiguousarray(frames)).movedim(-1, -3)
