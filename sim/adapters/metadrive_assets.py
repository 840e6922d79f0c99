"""Generated textures and models for MetaDrive, made once into a cache folder.

MetaDrive's wheel carries none and would fetch them from a code host at the first run. What it needs to drive and to be
looked at is little: noise for asphalt and grass, skies, a height field with hills at the horizon, cars of a few boxes.
Everything is drawn from one fixed random seed, so every machine has the same.
"""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sim.adapters.metadrive_shaders import GROUND_FRAGMENT, SKY_FRAGMENT, SKY_VERTEX
from sim.cache_folder import cache_folder
from sim.errors import BadInputError

ASSETS_VERSION = "1"
"""Of what this module draws; another one is made into another folder."""
TERRAIN_M = 2048
"""Side of MetaDrive's terrain, and of the height field in pixels."""
ROAD_REGION_M = 512
"""The square in the middle that holds the roads; it is level."""
HEIGHT_SCALE_M = 60.0
CAR_FOLDERS = ("ferra", "130", "lada", "truck", "beetle")
"""Folders of the car models that MetaDrive asks for: default, m, l, xl, s."""


@dataclass(frozen=True)
class Daylight:
    """A sky and the light that goes with it; colours are RGB from 0 to 1."""

    name: str
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    cloud: float
    sun: float
    ambient: float
    haze_m: float


DAYLIGHTS = (
    Daylight("clear", (0.24, 0.45, 0.78), (0.72, 0.82, 0.92), 0.15, 0.62, 0.48, 1500.0),
    Daylight("fair", (0.30, 0.50, 0.80), (0.76, 0.83, 0.90), 0.55, 0.50, 0.52, 1100.0),
    Daylight("overcast", (0.62, 0.65, 0.69), (0.78, 0.80, 0.82), 0.85, 0.12, 0.74, 700.0),
    Daylight("evening", (0.30, 0.40, 0.62), (0.93, 0.80, 0.64), 0.40, 0.50, 0.40, 900.0),
)


def assets_folder(parent: Path | None, shaders: Path) -> Path:
    """The folder to give MetaDrive as its assets; made on the first call.

    Args:
        parent: cache folder; None for ``metadrive-assets`` in ``sim.cache_folder``.
        shaders: MetaDrive's own, which it looks for beside its assets.

    Raises:
        BadInputError: the folder cannot be written.
    """
    parent = cache_folder() / "metadrive-assets" if parent is None else Path(parent)
    folder = parent / f"v{ASSETS_VERSION}"
    if (folder / "assets" / "version.txt").is_file():
        return folder / "assets"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=".making-") as made:
            _make(Path(made) / "new", shaders)
            try:
                (Path(made) / "new").replace(folder)
            except OSError:
                # Another process may have been first.
                if not (folder / "assets" / "version.txt").is_file():
                    raise
    except OSError as error:
        raise BadInputError(
            f"assets_dir: expected a folder that can be written, got {parent} ({error.strerror}); name another"
        ) from None
    return folder / "assets"


def _make(folder: Path, shaders: Path) -> None:
    shutil.copytree(shaders, folder / "shaders")
    (folder / "shaders" / "terrain.frag.glsl").write_text(GROUND_FRAGMENT)
    (folder / "shaders" / "sky.vert.glsl").write_text(SKY_VERTEX)
    (folder / "shaders" / "sky.frag.glsl").write_text(SKY_FRAGMENT)
    textures, models = folder / "assets" / "textures", folder / "assets" / "models"
    rng = np.random.default_rng(20)
    _write(textures / "asphalt.png", _asphalt(rng))
    _write(textures / "grass.png", _grass(rng))
    _write(textures / "terrain" / "heightfield.png", _hills(rng))
    for name in ("color", "normal"):  # loaded for every road, shown beside none
        _write(textures / "sidewalk" / f"{name}.png", np.full((8, 8, 3), 128, np.uint8))
    for daylight in DAYLIGHTS:
        _write(textures / f"sky_{daylight.name}.png", _sky(rng, daylight))
    colours = ((0.62, 0.05, 0.04), (0.10, 0.20, 0.45), (0.75, 0.75, 0.75), (0.85, 0.82, 0.70), (0.12, 0.30, 0.16))
    for name, colour in zip(CAR_FOLDERS, colours, strict=True):
        size = (2.3, 5.7, 2.6) if name == "truck" else (1.8, 4.4, 1.45)
        (models / name).mkdir(parents=True)
        (models / name / "vehicle.gltf").write_text(_car(size, colour))
        wheel = _gltf([(_wheel(0.36, 0.24), (0.03, 0.03, 0.03))])
        for end in ("front", "back"):
            (models / name / f"right_tire_{end}.gltf").write_text(wheel)
    sky = _gltf([(_box((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)), (1.0, 1.0, 1.0))])
    (models / "sky.gltf").write_text(sky)
    (folder / "assets" / "version.txt").write_text(f"{ASSETS_VERSION}\n")


def _write(path: Path, picture: np.ndarray) -> None:
    """``picture``: RGB or one channel."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture[..., ::-1] if picture.ndim == 3 else picture)


def _noise(rng: np.random.Generator, shape: tuple[int, int], exponent: float, longest: float = 1.0) -> np.ndarray:
    """Tileable noise of mean 0 and standard deviation 1 whose spectrum falls as frequency^-exponent.

    ``longest``: wavelengths above this share of the picture are left out, so that its repetition does not show.
    """
    white = np.fft.rfft2(rng.standard_normal(shape))
    fy, fx = np.fft.fftfreq(shape[0]) * shape[0], np.fft.rfftfreq(shape[1]) * shape[1]
    frequency = np.hypot(fy[:, None], fx[None, :])
    gain = np.where(frequency >= 1.0 / longest, np.maximum(frequency, 1.0) ** -exponent, 0.0)
    noise = np.fft.irfft2(white * gain, s=shape)
    return (noise - noise.mean()) / noise.std()


def _to_bytes(colour: np.ndarray) -> np.ndarray:
    return (np.clip(colour, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _asphalt(rng: np.random.Generator) -> np.ndarray:
    grain = 0.055 * _noise(rng, (512, 512), 0.4, 0.05) + 0.028 * _noise(rng, (512, 512), 1.6)
    return _to_bytes(np.array([0.41, 0.41, 0.42]) * (1.0 + grain[..., None]))


def _grass(rng: np.random.Generator) -> np.ndarray:
    blades = 0.16 * _noise(rng, (512, 512), 0.7, 0.1)
    patches = _noise(rng, (512, 512), 1.7)[..., None]
    colour = np.array([0.34, 0.42, 0.20]) + patches * np.array([0.045, 0.025, 0.015])
    return _to_bytes(colour * (1.0 + blades[..., None]))


def _hills(rng: np.random.Generator) -> np.ndarray:
    """uint16 (2048, 2048): level in the middle, rolling hills all around, of which 32767 is the full height."""
    rise = _noise(rng, (TERRAIN_M // 4, TERRAIN_M // 4), 2.2, 0.35)
    axis = np.linspace(-0.5, 0.5, TERRAIN_M // 4) * TERRAIN_M
    beyond_m = np.maximum(np.hypot(axis[:, None], axis[None, :]) - 0.75 * ROAD_REGION_M, 0.0)
    height = np.clip(0.35 + 0.3 * rise, 0.0, 1.0) * np.clip(beyond_m / 450.0, 0.0, 1.0) ** 1.5
    large = cv2.resize(height.astype(np.float32), (TERRAIN_M, TERRAIN_M), interpolation=cv2.INTER_CUBIC)
    return (np.clip(large, 0.0, 1.0) * 26000.0).astype(np.uint16) + 4096


def _sky(rng: np.random.Generator, daylight: Daylight) -> np.ndarray:
    """RGB (256, 2048): the top row is the zenith, the bottom row the horizon."""
    height = np.linspace(1.0, 0.0, 256)[:, None, None]
    colour = np.array(daylight.horizon) + (np.array(daylight.zenith) - daylight.horizon) * height**0.55
    cover = _noise(rng, (1024, 2048), 1.7, 0.3)[::4]
    cover = np.clip((cover - 1.1 + 1.6 * daylight.cloud) * 0.6, 0.0, 1.0)[..., None] * np.clip(height * 5.0, 0.0, 1.0)
    return _to_bytes(colour + cover * 0.8 * (np.array([0.94, 0.94, 0.95]) - colour))


def _box(low: tuple[float, float, float], high: tuple[float, float, float], taper: float = 0.0) -> np.ndarray:
    """Triangles (n, 3, 3) of a box, x right, y forward, z up; ``taper`` draws the roof in at front and rear."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    bottom = [(x0, y0, z0), (x1, y0, z0), (x1, y1, z0), (x0, y1, z0)]
    inset = taper * 0.25
    top = [
        (x0 + inset, y0 + taper, z1),
        (x1 - inset, y0 + taper, z1),
        (x1 - inset, y1 - taper, z1),
        (x0 + inset, y1 - taper, z1),
    ]
    faces = [bottom[::-1], top] + [[bottom[i], bottom[(i + 1) % 4], top[(i + 1) % 4], top[i]] for i in range(4)]
    return np.array([[f[0], f[1], f[2]] for f in faces] + [[f[0], f[2], f[3]] for f in faces])


def _wheel(radius_m: float, width_m: float, n_sides: int = 14) -> np.ndarray:
    """Triangles of a closed cylinder along x."""
    angle = np.linspace(0.0, 2 * np.pi, n_sides + 1)
    ring = np.stack([np.zeros_like(angle), np.cos(angle) * radius_m, np.sin(angle) * radius_m], 1)
    half = np.array([width_m / 2, 0.0, 0.0])
    triangles = []
    for a, b in itertools.pairwise(ring):
        triangles += [(half, a + half, b + half), (-half, b - half, a - half)]
        triangles += [(a - half, b - half, b + half), (a - half, b + half, a + half)]
    return np.array(triangles)


def _car(size_m: tuple[float, float, float], colour: tuple[float, float, float]) -> str:
    w, ln, h = size_m[0] / 2, size_m[1] / 2, size_m[2]
    cabin = _box((-w * 0.92, -ln * 0.85, h * 0.5), (w * 0.92, ln * 0.45, h), 0.22 * h)
    lamps = [_box((s * w * 0.7 - 0.14, -ln - 0.02, h * 0.4), (s * w * 0.7 + 0.14, -ln, h * 0.52)) for s in (-1, 1)]
    return _gltf(
        [
            (_box((-w, -ln, 0.22), (w, ln, h * 0.55), 0.06), colour),
            (cabin, (0.05, 0.06, 0.08)),
            (_box((-w * 0.80, -ln * 0.62, h), (w * 0.80, ln * 0.22, h + 0.03)), colour),
            (np.concatenate(lamps), (0.7, 0.03, 0.02)),
        ]
    )


def _gltf(parts: list[tuple[np.ndarray, tuple[float, float, float]]]) -> str:
    """glTF 2.0 text, everything embedded, of flat-shaded triangles (n, 3, 3) and their colours."""
    data, views, accessors, primitives, materials = b"", [], [], [], []
    for i, (triangles, colour) in enumerate(parts):
        normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        normal = (normal / np.linalg.norm(normal, axis=1, keepdims=True))[:, None].repeat(3, 1)
        for j, array in enumerate((triangles, normal)):
            # glTF has y up and z backwards.
            values = array.reshape(-1, 3)[:, [0, 2, 1]] * (1.0, 1.0, -1.0)
            raw = values.astype("<f4").tobytes()
            views.append({"buffer": 0, "byteOffset": len(data), "byteLength": len(raw)})
            accessor = {"bufferView": 2 * i + j, "componentType": 5126, "count": len(values), "type": "VEC3"}
            accessors.append(accessor | {"min": values.min(0).tolist(), "max": values.max(0).tolist()})
            data += raw
        primitives.append({"attributes": {"POSITION": 2 * i, "NORMAL": 2 * i + 1}, "material": i})
        surface = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
        materials.append({"pbrMetallicRoughness": surface, "doubleSided": True})
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    return json.dumps(
        {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": primitives}],
            "materials": materials,
            "accessors": accessors,
            "bufferViews": views,
            "buffers": [{"byteLength": len(data), "uri": uri}],
        }
    )
