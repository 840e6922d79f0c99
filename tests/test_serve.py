import contextlib
import json
import random
import shutil
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import av
import pytest

pytest.importorskip("starlette", reason="needs the extra web")
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from driving.serve import app as app_module
from driving.serve import dropped as dropped_module
from driving.serve.app import Server, packed
from driving.serve.controls import MAX_SEED, METHODS, PROCEDURAL, Controls, Menu, menu_of
from driving.serve.live import Live
from driving.serve.seat import REWIND_S
from driving.settings import env_maker
from sim.conventions import FRAME_RATE_HZ
from sim.drive import save
from sim.errors import BadInputError
from sim.record import record

MENU = Menu(("ltc19", "lstm64"))


@pytest.fixture
def live():
    world = Live(MENU, Controls(policies=("ltc19",), family="country", weather="clear", season="summer"))
    yield world
    world.close()


# Controls ----------------------------------------------------------------------------------------------------


def test_serve_controls_take_what_the_menu_has():
    changed = Controls().changed(
        {"policies": ["lstm64"], "noise": "fog", "severity": 2, "seed": 7, "season": "winter"}, MENU
    )
    assert (changed.policies, changed.noise, changed.severity, changed.seed) == (("lstm64",), "fog", 2.0, 7)
    assert str(changed.make_noise()) == "fog:2"
    assert changed.changed({}, MENU) == changed
    assert Controls().make_noise() is None


@pytest.mark.parametrize(
    "values",
    [
        None, [], "x", {"nothing": 1}, {1: 2}, {"policies": "ltc19"}, {"policies": []}, {"policies": ["ltc19"] * 3},
        {"policies": ["../../etc"]}, {"policies": [["ltc19"]]}, {"world": "lane/MetaDrive-v0"}, {"world": "/etc"},
        {"family": "moon"}, {"season": None}, {"weather": ["clear"]}, {"seed": -1}, {"seed": MAX_SEED + 1},
        {"seed": True}, {"seed": 1.5}, {"seed": "7"}, {"noise": "nonesuch"}, {"noise": "fog", "severity": 1e9},
        {"severity": -1}, {"severity": float("nan")}, {"severity": "strong"}, {"severity": 10**400},
        {"method": "occlusion"}, {"method": 3},
    ],
)  # fmt: skip
def test_serve_controls_refuse_what_it_has_not(values):
    with pytest.raises(BadInputError, match="controls: "):
        Controls().changed(values, MENU)


def test_serve_menu_has_every_seed_and_every_noise(tmp_path):
    menu = menu_of((str(tmp_path),), (tmp_path / "a" / "mine",))
    assert {str(tmp_path), "ltc19", "ltc19@0", "lstm64@4"} <= set(menu.policies)
    assert menu.worlds == (PROCEDURAL, "recording: mine")
    shown = json.loads(json.dumps(menu.to_dict(), allow_nan=False))
    assert {"gaussian", "fog", "dropout_frame"} & {noise["name"] for noise in shown["noises"]}
    assert all(len(noise["levels"]) == 3 and noise["most"] > 0 for noise in shown["noises"])
    with pytest.raises(BadInputError, match="two drives have the same name"):
        menu_of((), (tmp_path / "a" / "mine", tmp_path / "b" / "mine"))


# One viewer's world ------------------------------------------------------------------------------------------


def test_serve_live_drives_as_a_rollout_does(live):
    from driving.models import checkpoint
    from driving.rollout import rollout

    for _ in range(30):
        header, pictures = live.tick()
    (log,) = rollout(checkpoint.load("ltc19"), live.controls.make_world(MENU), [live.controls.seed], 31 / FRAME_RATE_HZ)
    assert header["seats"][0]["offset_m"] == pytest.approx(log.lateral_offset_m[-1], abs=6e-4)
    assert header["tick"] == 31
    assert pictures[0][:2] == b"\xff\xd8"
    json.dumps(header, allow_nan=False)


def test_serve_live_two_policies_share_the_road(live):
    live.hear({"set": {"policies": ["ltc19", "lstm64"]}})
    header, pictures = live.tick()
    assert len(pictures) == len(header["seats"]) == 2
    scene = live.describe()
    assert scene["seats"][0]["setting"] == scene["seats"][1]["setting"]
    assert scene["seats"][0]["wiring"]["n_inputs"] == 32
    assert scene["seats"][1]["wiring"] is None
    assert len(header["seats"][0]["currents"]) == len(scene["seats"][0]["wiring"]["synapses"])


def test_serve_live_noise_changes_while_it_drives_and_the_road_stays(live):
    live.tick()
    road, before = live.seats[0].env.road_m, live.seats[0].env.along_road_m
    live.hear({"set": {"noise": "gaussian", "severity": 0.3}})
    for _ in range(3):
        live.tick()
    instant = live.seats[0].instant
    assert (instant.frame != instant.clean_frame).mean() > 0.5
    assert live.seats[0].env.road_m == road
    assert live.seats[0].env.along_road_m > before
    live.hear({"set": {"noise": "none", "severity": 0}})
    live.tick()
    assert (live.seats[0].instant.frame == live.seats[0].instant.clean_frame).all()


def test_serve_live_hands_on_the_wheel_and_off(live):
    live.hear({"wheel": 0.5})
    live.tick()
    seat = live.seats[0]
    limit = min(float(seat.env.action_space.high[0]), 3.0 / seat.run.info["speed_mps"] ** 2)
    assert seat.instant.curvature_per_m == pytest.approx(0.5 * limit, rel=0.1)
    live.hear({"wheel": None})
    header, _ = live.tick()
    assert seat.instant.curvature_per_m == seat.hands.command_per_m
    assert header["seats"][0]["is_yours"] is False


def test_serve_live_wheel_held_leaves_the_lane_and_is_counted_and_put_back(live):
    live.hear({"wheel": 1.0})
    for _ in range(80):
        header, _ = live.tick()
        if header["seats"][0]["crashes"]:
            break
    assert header["seats"][0]["crashes"] == 1
    assert header["seats"][0]["has_crashed"]
    assert abs(live.seats[0].run.info["lateral_offset_m"]) < 0.1
    assert not live.seats[0].run.is_over


def test_serve_live_clamped_neuron_stays_where_it_is_held(live):
    free = Live(MENU, live.controls)
    live.hear({"clamp": [0, 3, 1.5]})
    for world in (live, free):
        for _ in range(3):
            world.tick()
    assert live.seats[0].instant.state_before[3] == 1.5
    assert live.tick()[0]["seats"][0]["clamped"] == {"3": 1.5}
    assert live.seats[0].hands.command_per_m != free.seats[0].hands.command_per_m
    free.close()
    live.hear({"clamp": [0, 3, None]})
    assert live.tick()[0]["seats"][0]["clamped"] == {}


def test_serve_live_rewind_goes_back_to_place_and_memory(live):
    for _ in range(5):
        live.tick()
    then = live.seats[0].past[0]
    live.hear({"do": "rewind"})
    assert live.seats[0].env.along_road_m == pytest.approx(then.along_road_m, abs=0.01)
    assert live.seats[0].run.info["lateral_offset_m"] == pytest.approx(then.lateral_offset_m, abs=1e-6)
    assert (live.seats[0].hands.actor.state == then.state).all()
    for _ in range(round(REWIND_S * FRAME_RATE_HZ) + 5):
        live.seats[0].remember()
    assert len(live.seats[0].past) == round(REWIND_S * FRAME_RATE_HZ)


def test_serve_live_push_pause_step_next(live):
    live.tick()
    before = live.seats[0].run.info["lateral_offset_m"]
    live.hear({"do": "push_left"})
    assert live.seats[0].run.info["lateral_offset_m"] == pytest.approx(before + 0.7, abs=0.02)
    live.hear({"do": "push_left"})
    live.hear({"do": "push_left"})
    assert not live.seats[0].run.is_over
    live.hear({"do": "pause", "n": 9})
    first, second = live.tick()[0], live.tick()[0]
    assert first["tick"] == second["tick"]
    assert (second["paused"], second["heard"]) == (True, 9)
    live.hear({"do": "step"})
    assert live.tick()[0]["tick"] == first["tick"] + 1
    live.hear({"do": "next"})
    assert live.controls.seed == 2006
    assert live.seats[0].env.along_road_m < 10


def test_serve_live_records_what_is_seen(live):
    live.hear({"do": "record"})
    for _ in range(4):
        live.tick()
    live.hear({"do": "stop"})
    header, _ = live.tick()
    (name,) = header["recordings"]
    path = live.done_recordings[name]
    with av.open(str(path)) as video:
        assert sum(1 for _ in video.decode(video=0)) == 4
    live.close()
    assert not path.exists()


def test_serve_live_a_recording_is_a_world(saved_drive, tmp_path):
    from sim import drive as drive_io
    from tests.conftest import _make_drive

    drive_io.save(_make_drive(60, size=(78, 200)), tmp_path / "mine")
    live = Live(menu_of(("ltc19",), (tmp_path / "mine",)), Controls(policies=("ltc19",), world="recording: mine"))
    for _ in range(90):  # beyond its end
        header, _ = live.tick()
    assert len(header["seats"]) == 1
    live.close()


# The server --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(menu=MENU, **settings):
    """A server in a thread; its address."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    made = Server(menu, **settings)
    server = uvicorn.Server(
        uvicorn.Config(
            made.app(), host="127.0.0.1", port=port, log_level="error", ws_max_size=16384, ws="websockets-sansio"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield made, f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def get(address, path="/", **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{address}{path}", headers=headers)) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers)


def viewer(address, query="", origin=None):
    return connect(f"ws://{address}/live{query}", origin=origin or f"http://{address}", open_timeout=60)


def parsed(message):
    (length,) = struct.unpack("<I", message[:4])
    return json.loads(message[4 : 4 + length])


def next_picture(socket, timeout=60):
    while True:
        message = socket.recv(timeout=timeout)
        if isinstance(message, bytes):
            return parsed(message)


def is_empty(made):
    """Is no world there or being made?"""
    return not made.viewers and made.n_opening == 0


def eventually(holds, seconds=20):
    """Wait until it holds; asked no further then."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server():
    with serving() as (made, address):
        yield made, address


def test_serve_page_and_menu_come_with_a_strict_policy(server):
    _, address = server
    for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")):
        status, body, headers = get(address, path)
        assert status == 200
        assert headers["content-type"].startswith(kind)
        assert "default-src 'self'" in headers["content-security-policy"]
        assert b"http://" not in body  # nothing from another host
        assert b"https://" not in body
    assert json.loads(get(address, "/menu.json")[1])["methods"] == list(METHODS)


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/recording/..%2f..%2fetc%2fpasswd", "/sweep/0", "/sweep/-1", "/x"]
)
def test_serve_gives_no_other_file(server, path):
    assert get(server[1], path)[0] in (404, 405)


def test_serve_refuses_other_hosts_and_origins(server):
    _, address = server
    assert get(address, Host="evil.example")[0] == 403
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        with pytest.raises(Exception, match=r"403|rejected"):
            viewer(address, origin=origin)


def test_serve_open_to_others_needs_the_token():
    with serving(token="secret", host="0.0.0.0") as (_, address):
        assert get(address)[0] == 403
        assert get(address, "/?token=wrong")[0] == 403
        assert get(address, "/?token=secret", Host="my-robot:8765")[0] == 200
        assert get(address, "/app.js")[0] == 200
        assert get(address, "/menu.json")[0] == 403
        with pytest.raises(Exception, match=r"403|rejected"):
            viewer(address)
        with viewer(address, "?token=secret") as page:
            assert "scene" in json.loads(page.recv(timeout=60))


def test_serve_a_page_sees_hears_and_ends(server):
    made, address = server
    with viewer(address) as page:
        assert json.loads(page.recv(timeout=60))["scene"]["controls"]["policies"] == ["ltc19"]
        first = next_picture(page)
        page.send(json.dumps({"do": "pause", "n": 4}))
        eventually(lambda: next_picture(page)["heard"] == 4)
        assert len(made.viewers) == 1
        (live,) = made.viewers
        assert first["seats"][0]["km"] >= 0
        page.send(json.dumps({"do": "go"}))
        eventually(lambda: not next_picture(page)["paused"])
        page.send(json.dumps({"do": "record"}))
        eventually(lambda: next_picture(page)["recording"])
        next_picture(page)  # a frame is written with each
        page.send(json.dumps({"do": "stop"}))
        eventually(lambda: next_picture(page)["recordings"])
        name = next_picture(page)["recordings"][0]
        status, body, headers = get(address, f"/recording/{name}")
        assert (status, headers["content-type"], body[4:8]) == (200, "video/mp4", b"ftyp")
    eventually(lambda: is_empty(made))
    eventually(lambda: not live.seats)  # its worlds are closed
    assert get(address, f"/recording/{name}")[0] == 404


def test_serve_a_thousand_hostile_messages_are_answered_or_end_the_page(server, monkeypatch):
    made, address = server
    monkeypatch.setattr(app_module, "MESSAGES_PER_S", 1e6)
    monkeypatch.setattr(app_module, "MESSAGE_BURST", 1e6)
    rng = random.Random(0)
    wild = [None, True, -1, 1e308, "", "x", [], {}, [0, 3, 1], [9, 9, 9], [0, -1, 0.5], "pause", {"seed": "x"}, 10**30]
    n_sent, codes = 0, set()
    while n_sent < 1000:
        try:
            with viewer(address) as page:
                for _ in range(60):
                    keys = rng.sample(["set", "do", "wheel", "clamp", "n", "eval", "__class__"], rng.randint(0, 4))
                    text = json.dumps({key: rng.choice(wild) for key in keys})
                    way = rng.random()
                    if way < 0.2:
                        text = rng.choice(["[" * 3000, "{", '"\\ud800"', "NaN", "9" * 4000, "\x00", "[]", "null"])
                    elif way < 0.25:
                        page.send(rng.randbytes(40))
                    page.send(text)
                    n_sent += 1
                next_picture(page, timeout=30)
        except ConnectionClosed as closed:
            codes.add(closed.rcvd and closed.rcvd.code)
    assert codes <= {1008}  # sent away in order
    eventually(lambda: is_empty(made))
    with viewer(address) as page:  # and the next one is served
        assert "scene" in json.loads(page.recv(timeout=60))


def test_serve_too_many_messages_or_too_long_ones_end_the_page(server):
    made, address = server
    for messages in (["{}"] * 400, ["x" * 5000], ["x" * 50000]):
        with viewer(address) as page, pytest.raises(ConnectionClosed):
            talk(page, messages)
    eventually(lambda: is_empty(made))


def talk(page, messages):
    for message in messages:
        page.send(message)
    for _ in range(300):
        page.recv(timeout=30)


@pytest.mark.slow
def test_serve_ten_viewers_share_fairly_and_the_eleventh_waits(server, monkeypatch):
    made, address = server
    with contextlib.ExitStack() as pages:
        opened = [pages.enter_context(viewer(address)) for _ in range(10)]
        counts = [0] * 10
        for page in opened:
            next_picture(page)
        until = time.monotonic() + 6
        while time.monotonic() < until:
            for k, page in enumerate(opened):
                with contextlib.suppress(TimeoutError):
                    counts[k] += isinstance(page.recv(timeout=0.02), bytes)
        assert min(counts) > 0.5 * max(counts), counts
        with pytest.raises(ConnectionClosed) as refused, viewer(address) as eleventh:
            eleventh.recv(timeout=30)
        assert refused.value.rcvd.code == 1013
    eventually(lambda: is_empty(made))


def test_serve_packed_holds_sizes():
    assert parsed(packed({"a": 1}, [b"x", b"yz"])) == {"a": 1, "sizes": [1, 2]}


# Drives that are dropped in ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drive_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine") / "d"
    save(record(env_maker(PROCEDURAL, {}, 3.0), [10400], 3.0), folder)
    return folder


def put(address, path, content, origin=None):
    """The status and text of a file that is put."""
    request = urllib.request.Request(f"http://{address}{path}", content, method="PUT")
    request.add_header("Origin", f"http://{address}" if origin is None else origin)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def scene_of(page, is_it=lambda scene: True):
    """The next description of the scene that is meant."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        message = page.recv(timeout=30)
        if isinstance(message, str) and "scene" in json.loads(message) and is_it(json.loads(message)["scene"]):
            return json.loads(message)["scene"]
    raise AssertionError("no such scene")


def test_serve_drive_that_is_dropped_in_becomes_the_world(server, drive_folder):
    made, address = server
    with viewer(address) as page:
        key = scene_of(page)["key"]
        assert put(address, f"/drive/{key}/frames.mp4", b"x", origin="http://elsewhere")[0] == 403
        assert put(address, "/drive/another/frames.mp4", b"x")[0] == 404
        assert put(address, f"/drive/{key}/config.json", b"x")[0] == 413
        assert put(address, f"/drive/{key}/..%2Ffact", b"x")[0] in (404, 413)
        for path in drive_folder.iterdir():
            assert put(address, f"/drive/{key}/{path.name}", path.read_bytes()) == (201, "")
        page.send(json.dumps({"take": "my <b>road</b>"}))
        scene = scene_of(page, lambda scene: scene["controls"]["world"] != PROCEDURAL)
        assert scene["controls"]["world"] == "dropped: my <b>road</b>"
        assert scene["worlds"] == [PROCEDURAL, "dropped: my <b>road</b>"]
        (live,) = made.viewers
        folder = live.dropped.drives[scene["controls"]["world"]]
        assert folder.is_dir()
    eventually(lambda: not folder.exists())


def test_serve_dropped_files_that_are_no_drive_leave_all_as_it_was(live, drive_folder, monkeypatch):
    world = live.controls.world
    with pytest.raises(BadInputError, match="expected the files"):
        live.hear({"take": "nothing"})
    live.dropped.add(live.dropped.begin("table.csv"), b"timestamp_s\n")
    with pytest.raises(BadInputError, match=r"frames\.mp4 is missing"):
        live.hear({"take": "half"})
    for path in drive_folder.iterdir():
        content = b"spoilt" if path.name == "frames.mp4" else path.read_bytes()
        live.dropped.add(live.dropped.begin(path.name), content)
    with pytest.raises(BadInputError) as caught:
        live.hear({"take": "spoilt"})
    assert live.controls.world == world
    assert live.menu.worlds == (PROCEDURAL,)
    assert len(str(caught.value)) < 300
    assert not live.dropped.drives
    assert not list(Path(live.dropped._folder.name).iterdir())
    live.tick()
    monkeypatch.setattr(dropped_module, "MAX_BYTES", 10_000)
    with pytest.raises(BadInputError, match="a page takes up to"):
        live.dropped.add(live.dropped.begin("frames.mp4"), b"x" * 20_000)
    with pytest.raises(BadInputError, match="expected the files"):
        live.hear({"take": "too large"})


def test_serve_drive_of_a_name_that_is_there_does_not_touch_the_other(live, drive_folder):
    folders = []
    for _ in range(3):
        for path in drive_folder.iterdir():
            live.dropped.add(live.dropped.begin(path.name), path.read_bytes())
        live.hear({"take": "mine"})
        folders.append(live.dropped.drives["dropped: mine"])
        live.tick()
    assert len(set(folders)) == 3
    assert all((folder / "frames.mp4").is_file() for folder in folders)


# A browser ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_serve_in_a_browser_by_real_clicks(server, drive_folder):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    _, address = server
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.goto(f"http://{address}/?policies=ltc19,lstm64&seed=2007&noise=gaussian&severity=0.05")

        def ticks():
            return int(page.evaluate("document.body.dataset.ticks || '0'"))

        eventually(lambda: page.evaluate("document.querySelectorAll('.seat').length === 2"), 60)
        eventually(lambda: page.evaluate("+document.body.dataset.ticks > 3"), 60)
        assert page.input_value("[name=noise]") == "gaussian"
        assert "seed=2007" in page.url
        page.click("#pause")
        eventually(lambda: page.evaluate("document.getElementById('pause').textContent === 'Go on'"), 20)
        paused_at = ticks()
        page.click("[data-do=step]")
        eventually(lambda: page.evaluate(f"+document.body.dataset.ticks === {paused_at} + 1"), 20)
        page.locator(".seat").first.locator(".which").select_option("3")
        assert "hears" in page.inner_text(".seat .wired")
        page.select_option("[name=noise]", "fog")
        eventually(lambda: "noise=fog" in page.evaluate("location.href"))
        assert page.locator(".seat").first.locator(".which").input_value() == "3"
        page.keyboard.press("Escape")
        page.click("h1")
        page.keyboard.press(" ")
        eventually(lambda: page.evaluate(f"+document.body.dataset.ticks > {paused_at} + 3"), 20)
        page.set_input_files("#drive", sorted(drive_folder.iterdir()))
        eventually(lambda: page.input_value("[name=world]") == "dropped: drive", 60)
        page.select_option("[name=world]", PROCEDURAL)
        page.select_option("[name=family]", "highway")
        eventually(lambda: page.evaluate("document.querySelector('.seat h2').textContent.includes('highway')"), 60)
        assert "family=highway" in page.url
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.set_viewport_size({"width": 360, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert not faults
        browser.close()
