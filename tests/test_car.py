"""Any car: the limit of the command, its unit and the camera come from the drives and stay with the policy."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch

from driving.car import car_of, check_limit, largest_label
from driving.data import AugmentConfig
from driving.export import export
from driving.models import checkpoint
from driving.models.policy import PolicyConfig, build_policy
from driving.recipe import NewPolicy, Training
from driving.runtime import DonkeycarPilot
from driving.train import TrainConfig, weighted_squared_error
from sim.drive import VehicleFacts
from sim.errors import BadInputError
from sim.importers import Asked, import_drive

PLAIN = AugmentConfig(light=0.0, shadow=0.0)
LOCK_PER_M = float(np.tan(np.deg2rad(25)) / 0.25)


def bent(make_drive, largest, vehicle=None, n=2000):
    """A drive whose |curvature| goes evenly up to ``largest``."""
    drive = make_drive(n, size=(8, 20))
    meta = dataclasses.replace(drive.meta, vehicle=vehicle or VehicleFacts("cart"))
    labels = np.linspace(-largest, largest, n).astype(np.float32)
    return dataclasses.replace(drive, curvature_per_m=labels, meta=meta)


def test_car_of_a_road_car_keeps_the_usual_limit(make_drive):
    for drives in ((), [bent(make_drive, 0.02)], [bent(make_drive, 0.0995)]):
        car = car_of(drives)
        assert (car["max_curvature_per_m"], car["curvature_unit_per_m"]) == (0.1, 0.02)


def test_car_of_a_small_car_turns_to_its_full_lock(make_drive):
    cart = VehicleFacts("cart", 0.25, None, np.deg2rad(25))
    car = car_of([bent(make_drive, 1.2, cart)])
    assert car["max_curvature_per_m"] == pytest.approx(LOCK_PER_M)
    assert car["curvature_unit_per_m"] == pytest.approx(0.2 * LOCK_PER_M)


def test_car_of_an_unknown_car_has_a_margin_over_its_labels(make_drive):
    drive = bent(make_drive, 1.2)
    assert car_of([drive])["max_curvature_per_m"] == pytest.approx(1.25 * largest_label([drive]))
    assert largest_label([drive]) == pytest.approx(1.2, rel=2e-3)
    both = car_of([drive, bent(make_drive, 0.5, VehicleFacts("cart", 0.25, None, np.deg2rad(25)))])
    assert both["max_curvature_per_m"] == pytest.approx(LOCK_PER_M)


def test_car_of_a_given_limit_is_that(make_drive):
    assert car_of([bent(make_drive, 1.2)], 0.5)["max_curvature_per_m"] == 0.5
    for wrong in (0.0, -1.0, float("nan"), 11.0):
        with pytest.raises(BadInputError, match="--max-curvature: expected above 0 to 10 /m"):
            car_of([], wrong)


def test_car_limit_of_a_policy_to_start_from_is_kept(make_drive):
    policy = build_policy(PolicyConfig("lstm"), 0)
    check_limit(policy, [bent(make_drive, 0.09)], "lstm64")
    with pytest.raises(BadInputError, match=r"reaches 1\.2 /m .* limit of lstm64 is 0\.1 /m; begin a new policy"):
        check_limit(policy, [bent(make_drive, 1.2)], "lstm64")


def test_car_loss_in_a_larger_unit_is_that_of_a_road_car():
    """A car that turns ten times as tightly: the same loss where all curvatures are ten times as large."""
    rng = torch.Generator().manual_seed(0)
    predicted, target = (0.05 * torch.randn(3, 5, generator=rng, dtype=torch.float64) for _ in range(2))
    speed = torch.full((3, 5), 12.0, dtype=torch.float64)
    road = weighted_squared_error(predicted, target, speed, 0.02, 0.02, 2.0, 1, outlier_per_m=0.004)
    cart = weighted_squared_error(10 * predicted, 10 * target, speed, 0.2, 0.02, 2.0, 1, outlier_per_m=0.004)
    assert cart.item() == pytest.approx(road.item(), rel=1e-12)
    assert torch.isfinite(cart)


def post(angle):
    """A picture with a white post, the further aside the larger the angle."""
    picture = np.full((120, 160, 3), 40, np.uint8)
    middle = round(80 + 60 * angle)
    picture[:, middle - 8 : middle + 8] = 220
    return picture


@pytest.fixture
def tub(tmp_path):
    """A Donkeycar tub: a post to the left of the middle, and the car turns left, up to full lock."""
    folder = tmp_path / "tub"
    (folder / "images").mkdir(parents=True)
    lines = []
    for k in range(120):
        angle = float(np.sin(k / 7))
        cv2.imwrite(str(folder / "images" / f"{k}_cam_image_array_.jpg"), post(angle))
        record = {"_index": k, "_timestamp_ms": 50 * k, "cam/image_array": f"{k}_cam_image_array_.jpg"}
        lines.append(json.dumps(record | {"user/angle": angle, "user/mode": "user"}))
    (folder / "catalog_0.catalog").write_text("\n".join(lines) + "\n")
    (folder / "manifest.json").write_text('[]\n[]\n{}\n{}\n{"paths": ["catalog_0.catalog"], "deleted_indexes": []}\n')
    return folder


@pytest.mark.slow
def test_car_from_a_tub_to_a_pilot_that_uses_the_whole_lock(tub, tmp_path):
    import_drive("donkeycar", tub, tmp_path / "drive", Asked(78, 200))
    config = TrainConfig(n_steps=150, batch=6, window=6, n_warmup=2, lr_encoder=3e-3, lr_core=1e-2, augment=PLAIN)
    Training(tmp_path / "policy", config, NewPolicy("lstm"), (str(tmp_path / "drive"),)).run()
    policy = checkpoint.load(str(tmp_path / "policy"))
    assert policy.config.max_curvature_per_m == pytest.approx(LOCK_PER_M)
    assert (policy.config.wheelbase_m, policy.config.full_lock_rad) == (0.25, pytest.approx(np.deg2rad(25)))
    export(policy, tmp_path / "car", "mine")
    angles = []
    for sign in (-1.0, 0.0, 1.0):
        pilot = DonkeycarPilot(tmp_path / "car")
        for _ in range(8):
            angle, throttle = pilot.run(post(sign))
        angles.append(angle)
        assert throttle == 0.2
    assert angles[0] < -0.5  # the usual limit of 0.1 /m would be 0.06
    assert angles[0] < angles[1] < angles[2]
    assert angles[2] > 0.5
    assert pilot.driver.meta["camera_horizon"] == str(policy.config.camera_horizon)
