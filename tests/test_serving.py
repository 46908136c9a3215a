"""The REST interface: what it makes is the command line's, and nothing it is sent breaks it."""

import asyncio
import io
import json
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from hdagger.domains.pictures.files import read_picture
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.samples import PosteriorSamples
from hdagger.serving.limits import Limits, is_loopback

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")
from fastapi.testclient import TestClient

from hdagger.serving.api import application
from hdagger.serving.refusals import GOOD

HERE = "http://127.0.0.1:7860"
LIMITS = Limits(bytes=2_000_000, pixels=10_000, samples=16, seconds=100)


def png(side=16, seed=0, mode="RGB", size=None):
    """A picture of noise."""
    rng = np.random.default_rng(seed)
    height, width = size or (side, side)
    values = rng.integers(0, 256, (height, width, len(mode)), dtype=np.uint8)
    return encoded(Image.fromarray(values.squeeze(), mode if len(mode) < 3 else None))


def encoded(image, kind="PNG", **how):
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def holes(side=16, box=(2, 2, 7, 5)):
    """A mask in which the box (left, top, right, bottom) is missing."""
    image = Image.new("L", (side, side))
    image.paste(255, box)
    return encoded(image)


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("prior") / "tiny.safetensors"
    UNetDenoiser(UNetShape(widths=(8,), embedding=8, heads=2)).save(path)
    return str(path)


@pytest.fixture
def serve(tmp_path, prior):
    """Starts a server with limits and options; gives a client of it."""
    clients = []

    def start(limits=LIMITS, **options):
        app = application(tmp_path / "root", limits, prior, **options)
        clients.append(TestClient(app, base_url=HERE).__enter__())
        return clients[-1]

    yield start
    for client in clients:
        client.__exit__(None, None, None)


def submit(client, file=None, name="a.png", beside=(), mask=None, **said):
    """Asks for a restoration; two samples of two steps, if nothing else is said."""
    files = [("file", (name, png() if file is None else file))]
    files += [("beside", one) for one in beside]
    files += [("mask", mask)] if mask else []
    said = {"samples": 2, "steps": 2, "method": "ddrm"} | said
    if "damage" in said:
        said["damage"] = json.dumps(said["damage"])
    return client.post("/api/jobs", files=files, data=said)


def submitted(client, *args, **said):
    answer = submit(client, *args, **said)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def until(client, id, *states):
    """The job's status once it is in one of these states."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        status = client.get(f"/api/jobs/{id}").json()
        if status["state"] in states or status["state"] in ("failed", "done", "cancelled"):
            assert status["state"] in states, status
            return status
        time.sleep(0.01)
    raise AssertionError(f"{status} for two minutes")


def long(client, **said):
    """A job that does not end by itself during a test, and runs."""
    id = submitted(client, samples=16, steps=1000, **{"damage": {"upscale": 2}} | said)
    until(client, id, "running")
    return id


def made(client, id):
    """The files of a job, by name."""
    names = [file["name"] for file in client.get(f"/api/jobs/{id}/files").json()]
    return {name: client.get(f"/api/jobs/{id}/files/{name}") for name in names}


def saved(content, path):
    path.write_bytes(content)
    return path


def draws(content, tmp_path):
    return PosteriorSamples.load(saved(content, tmp_path / "got.npz")).draws


def test_a_restoration_is_that_of_the_command_line(serve, tmp_path, run):
    client = serve()
    id = submitted(client, png(24), "x y.png", mask=("holes.png", holes(24)), seed=3)
    status = until(client, id, "done")
    assert status["words"][0].startswith("The answer is the mean, from 2 samples")
    assert (status["progress"], status["step"], status["name"]) == (
        1.0,
        status["steps"],
        "x y.png",
    )
    files = made(client, id)
    for name in ("recipe.toml", "holes.png"):
        (tmp_path / name).write_bytes(files[name].content)
    (tmp_path / "x.png").write_bytes(png(24))
    code, _, error = run("restore", "x.png", "--recipe", "recipe.toml", "-o", "out")
    assert code == 0, error
    written = {p.relative_to("out").as_posix() for p in Path("out").rglob("*") if p.is_file()}
    assert set(files) - {"holes.png", "mean-16bit.png"} == written - {".hdagger.json"}
    fine = read_picture(saved(files["mean-16bit.png"].content, tmp_path / "fine.png")).pixels
    alone = PosteriorSamples.load(Path("out/samples.npz")).draws
    assert torch.equal(alone, draws(files["samples.npz"].content, tmp_path))
    given = torch.from_numpy(np.asarray(Image.open(tmp_path / "x.png")).transpose(2, 0, 1) / 127.5)
    mean = alone.mean(0)
    assert (fine - mean.clamp(-1, 1)).abs().max() < 2 / 65535
    same = (mean - (given.float() - 1)).abs().amax(0) < 1e-5
    missing = torch.zeros(24, 24, dtype=torch.bool)
    missing[2:5, 2:7] = True
    assert torch.equal(same, ~missing), "white is missing, and nothing else is"
    for name in ("recipe.toml", "report.html", "summary.json"):
        assert str(tmp_path / "root") not in files[name].text
    assert "sandbox" in files["report.html"].headers["content-security-policy"]


def test_what_a_file_tells_is_told(serve):
    client = serve()

    def look(name, content):
        answer = client.post("/api/look", files={"file": (name, content)})
        assert answer.status_code == 200, answer.text
        return answer.json()

    photo = Image.fromarray(np.add.outer(np.arange(32), np.arange(48)).astype(np.uint8) * 3)
    told = look("a.jpg", encoded(photo.convert("RGB"), "JPEG", quality=10))
    assert told["notes"] == ["Found a JPEG of 32 x 48, of quality 10."]
    assert (told["width"], told["height"], told["operator"]) == (48, 32, "jpeg")
    told = look("a.png", png(32))
    assert told["notes"][0].startswith("Found noise of")
    assert told["noise"] > 0.1
    told = look("a.png", encoded(photo))
    assert "no holes and next to no noise" in told["wanted"]
    assert Image.open(io.BytesIO(__import__("base64").b64decode(told["picture"]))).size == (48, 32)
    told = look("a.png", png(16, mode="RGBA"))
    assert "transparent pixels: they are taken as missing" in told["notes"][0]
    assert not list(client.app.state.queue.root.iterdir()), "what was looked at is gone"


def test_several_files_and_words_make_a_damage(serve):
    client = serve()
    kernel = np.ones((3, 3)).tobytes()
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(kernel).reshape(3, 3))
    beside = [("k.npy", buffer.getvalue()), ("m.png", holes(16))]
    damage = {"operator": "kernel:k.npy,mirror | mask:m.png", "sigma_y": 0.1}
    id = submitted(client, beside=beside, damage=damage, method="pigdm")
    assert until(client, id, "done")["summary"]["operator"] == "kernel:mirror | mask"
    assert 'operator = "kernel:k.npy,mirror | mask:m.png"' in made(client, id)["recipe.toml"].text


@pytest.mark.parametrize(
    "damage",
    [
        {"mask": "/etc/passwd"},
        {"blur": "/etc/passwd"},
        {"blur": "gauss:2 | mask:/etc/passwd"},
        {"operator": "mask:/etc/passwd"},
        {"operator": "none | kernel:../../secret.png"},
    ],
)
def test_no_file_of_the_server_is_named(serve, damage):
    answer = submit(serve(), damage=damage)
    assert answer.status_code == 422
    assert "sent along, but got none" in answer.json()["error"]


def test_the_queue_has_an_order_and_cancel_works_at_any_time(serve):
    client = serve()
    first = long(client)
    second, third = submitted(client), submitted(client)
    position = lambda id: client.get(f"/api/jobs/{id}").json()["position"]
    assert [position(id) for id in (first, second, third)] == [0, 1, 2]
    assert client.post(f"/api/jobs/{second}/cancel").json()["state"] == "cancelled"
    assert position(third) == 1
    fourth = submitted(client)
    assert position(fourth) == 2
    end = time.monotonic() + 60
    while not client.get(f"/api/jobs/{first}").json()["step"] and time.monotonic() < end:
        time.sleep(0.01)
    seen = client.get(f"/api/jobs/{first}/preview.png")
    assert Image.open(io.BytesIO(seen.content)).size == (32, 32)
    assert client.get(f"/api/jobs/{third}/preview.png").status_code == 204
    queue = client.app.state.queue
    task, before = queue.get(first), queue.get(first).done
    client.post(f"/api/jobs/{first}/cancel")
    status = until(client, first, "cancelled")
    assert status["step"] < status["steps"] / 2, "it ended long before its end"
    assert task.done - before < 50
    assert until(client, third, "done")["position"] == 0
    until(client, fourth, "done")
    assert queue.get(third)._began < queue.get(fourth)._began
    assert client.get(f"/api/jobs/{first}/files").json() == []
    assert client.post(f"/api/jobs/{third}/cancel").json()["state"] == "done"


def test_a_cancelled_job_takes_no_further_step(serve, monkeypatch):
    """Within the step in which it was asked for: the next prediction is the last."""
    client = serve()
    id = long(client)
    task = client.app.state.queue.get(id)
    seen = []
    monkeypatch.setattr(type(task), "_count", lambda self, done, total: seen.append(done))
    task.stop.set()
    until(client, id, "cancelled")
    assert len(seen) <= 1


def test_jobs_do_not_mix(serve):
    client = serve(at_once=2)
    small, large = long(client, file=png(16)), long(client, file=png(24))
    for id, side in ((small, 32), (large, 48)):
        end = time.monotonic() + 60
        while (seen := client.get(f"/api/jobs/{id}/preview.png")).status_code == 204:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert Image.open(io.BytesIO(seen.content)).size == (side, side)


def test_a_deleted_job_is_gone_and_so_are_its_files(serve):
    client = serve()
    done, running = submitted(client), None
    until(client, done, "done")
    running = long(client)
    for id in (done, running):
        assert client.delete(f"/api/jobs/{id}").status_code == 204
        assert client.get(f"/api/jobs/{id}").status_code == 404
    end = time.monotonic() + 60
    while list(client.app.state.queue.root.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not list(client.app.state.queue.root.iterdir())


def test_old_jobs_are_deleted(serve):
    client = serve(replace(LIMITS, kept=2))
    ids = [submitted(client) for _ in range(3)]
    for id in ids[1:]:
        until(client, id, "done")
    assert [client.get(f"/api/jobs/{id}").status_code for id in ids] == [404, 200, 200]
    assert {path.name for path in client.app.state.queue.root.iterdir()} == set(ids[1:])


def test_what_goes_wrong_later_is_told(serve):
    client = serve()
    id = submitted(client, damage={"operator": "gamma:2"})
    error = until(client, id, "failed")["error"]
    assert "needs an operator that is a SVDOperator" in error
    assert "Use" in error
    until(client, submitted(client), "done")


@pytest.mark.parametrize(
    ("limits", "said", "line"),
    [
        ({"pixels": 200}, {}, "at most 200 pixels, but got 256"),
        ({"pixels": 300}, {"damage": {"upscale": 2}}, "at most 300 pixels, but got 1024"),
        ({"samples": 1}, {}, "at most 1 samples, but got 2"),
        ({"steps": 1}, {}, "at most 1 steps, but got 2"),
        ({}, {"prior": "/etc/passwd"}, "Wanted a prior, one of"),
        ({}, {"method": "magic"}, "Wanted a method, one of"),
        ({}, {"domain": "music"}, "Wanted a domain, one of"),
        ({}, {"domain": "motion"}, "Wanted a clip, but a.png ends in '.png'"),
        ({}, {"domain": "motion", "damage": {"sigma_y": "a"}}, "Wanted a number for sigma_y"),
        ({}, {"domain": "motion", "damage": {"slice": 1}}, "Wanted a clip told by keep"),
        ({}, {"samples": 0}, "Wanted samples of 1 or more, but got '0'. Try -F samples=8."),
        ({}, {"damage": [1]}, "a damage as a JSON object"),
        ({}, {"damage": {"upscale": "4"}}, "another kind of value for upscale"),
        ({}, {"damage": {"weather": 1}}, "a damage said by mask"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(serve, limits, said, line):
    client = serve(replace(LIMITS, **limits))
    answer = submit(client, **said)
    assert answer.status_code == 422, answer.text
    assert line in answer.json()["error"]
    assert not list(client.app.state.queue.root.glob("*"))


A_FILE = ("a.png", png())


@pytest.mark.parametrize(
    ("files", "said", "line"),
    [
        ({}, {"samples": 2}, "Wanted a field file, but got none. Try -F file=@photo.png."),
        ({}, {"file": "a"}, "Wanted a file for file, but got 'a'. Try -F file=@photo.png."),
        ({"file": A_FILE}, {"mask": "m"}, "Wanted a file for mask, but got 'm'."),
        ({"file": A_FILE}, {"beside": "k"}, "Wanted a file for beside, but got 'k'."),
        ({"file": A_FILE, "damage": A_FILE}, {}, "Wanted a text for damage, but got a file."),
        ({"file": A_FILE}, {"steps": "few"}, "Wanted a whole number for steps, but got 'few'."),
        ({"file": A_FILE}, {"steps": 2.5}, "Wanted a whole number for steps, but got '2.5'."),
        ({"file": A_FILE}, {"seed": "9" * 5000}, f"number for seed, but got '{'9' * 40}'."),
        ({"file": A_FILE}, {"seed": 2**63}, f"Wanted a seed below {2**63}, but got"),
        ({"file": A_FILE}, {"prior": "x" * 101}, "Wanted a prior of at most 100 letters, but"),
    ],
)
def test_a_form_that_does_not_fit_is_told_in_the_command_lines_sentence(serve, files, said, line):
    answer = serve().post("/api/jobs", files=files, data=said)
    assert answer.status_code == 422
    told = answer.json()["error"]
    assert line in told
    assert re.fullmatch(r"Wanted .*, but got .*\. Try -F .*\.", told)


def test_every_field_of_a_form_has_an_example(serve):
    schemas = serve().get("/api/openapi.json").json()["components"]["schemas"]
    forms = [schema for name, schema in schemas.items() if name.startswith("Body_")]
    assert {name for form in forms for name in form["properties"]} == set(GOOD)


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status", "line"),
    [
        ("POST", "/api/jobs", b"x", "multipart/form-data", 400, "Wanted a form of fields"),
        ("POST", "/api/jobs", b"x", "multipart/form-data; boundary=b", 400, "Wanted a form of"),
        ("POST", "/api/jobs", b"{", "application/json", 422, "Wanted a field file, but got none"),
        ("GET", "/api/{detail}", b"", "text/plain", 404, "is here, but '/api/{detail}' is not"),
        ("GET", "/none", b"", "text/plain", 404, "is here, but '/none' is not"),
        ("PUT", "/api/jobs", b"", "text/plain", 405, "another method for '/api/jobs', but got P"),
    ],
)
def test_what_is_no_request_of_ours_is_told_in_a_line(
    serve, method, path, content, kind, status, line
):
    headers = {"content-type": kind}
    answer = serve().request(method, path, content=content, headers=headers)
    assert answer.status_code == status
    told = answer.json()["error"]
    assert line in told
    assert "Try" in told


def test_steps_that_a_method_takes_by_itself_are_limited_too(serve):
    client = serve(replace(LIMITS, steps=5))
    id = submitted(client, steps=0)
    assert "at most 5 steps" in until(client, id, "failed")["error"]


def test_a_restoration_has_its_time(serve):
    client = serve(replace(LIMITS, seconds=1))
    id = submitted(client, samples=16, steps=1000, damage={"upscale": 2})
    assert "within 1 s" in until(client, id, "failed")["error"]


def test_only_so_many_wait(serve):
    client = serve(replace(LIMITS, queued=1))
    long(client)
    submitted(client)
    answer = submit(client)
    assert (answer.status_code, "1 jobs wait" in answer.json()["error"]) == (429, True)


@pytest.mark.parametrize("told", [True, False])
def test_too_many_bytes_are_refused_before_they_are_read(serve, told):
    """A stream that never ends is cut off, whatever length it claims."""
    app, read, sent = serve().app, 0, []
    start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=b")]
    headers += [(b"content-length", b"99999999")] if told else []

    async def receive():
        nonlocal read
        read += 1
        assert read < 100, "it reads on"
        return {
            "type": "http.request",
            "body": start if read == 1 else bytes(2**18),
            "more_body": True,
        }

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/jobs", "headers": headers}
    scope |= {"query_string": b"", "raw_path": b"/api/jobs", "root_path": "", "scheme": "http"}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 413
    assert b"at most 2000000 bytes" in sent[1]["body"]
    assert read <= (0 if told else LIMITS.bytes / 2**18 + 3)


def test_a_token_is_asked_for(serve):
    client = serve(token="secret", only_here=False)
    for given in (None, "Bearer other", "Basic secret", "secret", "Bearer "):
        headers = {"Authorization": given} if given else {}
        answer = client.get("/api/choices", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "token" in answer.json()["error"]
    assert client.get("/api/openapi.json").status_code == 401
    known = {"Authorization": "Bearer secret"}
    assert client.get("/api/choices", headers=known).status_code == 200
    schema = client.get("/api/openapi.json", headers=known).json()
    assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
    assert client.get("/").status_code == 200, "the page itself holds no secret"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example:7860"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:8000"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": HERE, "sec-fetch-site": "same-origin"}, 200),
        ({"host": "localhost:7860", "origin": "http://localhost:7860"}, 200),
        ({"host": "[::1]:7860"}, 200),
    ],
)
def test_other_sites_are_kept_out(serve, headers, status):
    answer = serve().get("/api/choices", headers=headers)
    assert answer.status_code == status, answer.text


def test_every_answer_has_its_headers(serve):
    client = serve()
    for path in ("/", "/page.js", "/api/choices", "/api/jobs/none", "/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_only_what_a_job_made_is_given_out(serve):
    client = serve()
    (client.app.state.queue.root / "secret").write_text("secret")
    id = submitted(client, name="given.png")
    until(client, id, "done")
    up = "%2e%2e"
    for name in (
        "..%2f..%2fsecret", f"{up}/{up}/secret", f"{up}/given/given.png", "%2fetc%2fpasswd",
        f"samples/{up}/{up}/given/given.png", "samples", "", "mean.png%00", "C:%5cx",
    ):  # fmt: skip
        answer = client.get(f"/api/jobs/{id}/files/{name}")
        assert answer.status_code == 404, name
        assert "secret" not in answer.text.replace("/secret", "")
    assert client.get(f"/api/jobs/{id}/files/mean.png").status_code == 200


def bomb(width, height):
    """A small PNG that unpacks to a large picture."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes((3 * width + 1) * min(height, 20_000_000 // width)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def zipped(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def hostile():
    """A hundred uploads: (name, content, what is said besides)."""
    whole, jpeg = png(16), encoded(Image.open(io.BytesIO(png(16))), "JPEG")
    yield from ((name, whole, {}) for name in NAMES)
    yield from ((f"cut{k}.png", whole[:k], {}) for k in (0, 1, 8, 20, 33, 60, 100, -12))
    yield from ((f"cut{k}.jpg", jpeg[:k], {}) for k in (2, 20, 100, 400, -40))
    for suffix in ("png", "jpg", "tif", "npy", "npz", "fits", "h5", "gif", "webp", "exe", ""):
        yield f"text.{suffix}", b"<script>alert(1)</script>" * 20, {}
        yield f"zeros.{suffix}", bytes(500), {}
    for domain in ("ct", "mri", "lensing", "motion"):
        yield "a.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), {"domain": domain}
        yield "a.png", whole, {"domain": domain}
        yield "a.npz", zipped(x=np.zeros(3)), {"domain": domain}
    for size in ((100, 101), (4000, 4000), (30_000, 30_000), (2**31 - 1, 1), (0, 5)):
        yield "bomb.png", bomb(*size) if 0 not in size else bomb(1, 0), {}
    yield "bomb", bomb(4000, 4000), {}
    yield "bomb.png", bomb(4000, 4000) + zipped(y=np.zeros(3)), {}
    yield "bomb.npz", zipped(y=np.zeros(3_000_000)), {}
    yield "pickle.npy", np.lib.format.magic(1, 0) + b"cos\nsystem\n(S'id'\ntR.", {}
    rng = random.Random(0)
    for k in range(12):
        broken = bytearray(whole if k % 2 else jpeg)
        for _ in range(8):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        yield f"bits{k}.png", bytes(broken), {}
    for mask in (b"", b"no mask", holes(17), bomb(4000, 4000), holes(16)[:40], png(16), jpeg):
        yield "a.png", whole, {"mask": ("m.png", mask)}
    yield "a.png", whole, {"mask": ("../../../m<b>.png", holes(16))}
    for damage in (
        {"upscale": 10**9}, {"upscale": -1}, {"sigma_y": float("nan")}, {"sigma_y": 1e308},
        {"blur": "gauss:1e9"}, {"blur": "motion:200,0"}, {"operator": "|"},
        {"operator": "average:16 | average:16 | average:16"}, {"denoise": 1, "sigma_y": 1},
        {"operator": "x" * 9000},
    ):  # fmt: skip
        yield "a.png", whole, {"damage": damage}


NAMES = [
    "../../outside.png", "..\\..\\outside.png", "/etc/outside.png", "C:\\outside.png", "..", ".",
    "<img src=x onerror=alert(1)>.png", "a\x00b.png", "a\nb.png", "x" * 300 + ".png",
    "\u202egnp.a",
    "%2e%2e%2foutside.png", "~root.png", "-rf.png", "写真.png", "a.png/", "beside", "$(id).png",
]  # fmt: skip


def test_a_hundred_hostile_uploads(serve, tmp_path):
    client = serve(replace(LIMITS, queued=1000, kept=1000))
    cases = list(hostile())
    assert len(cases) >= 100
    around = {path for path in tmp_path.rglob("*") if "root" not in path.parts}
    ids = []
    for name, content, said in cases:
        for answer in (
            client.post("/api/look", files={"file": (name, content)}),
            submit(client, content, name, **said),
        ):
            assert answer.status_code < 500, (name, said, answer.text)
            if answer.status_code >= 400:
                line = answer.json()["error"]
                assert line.startswith("Wanted") or "needs" in line, line
                assert str(tmp_path) not in line, line
            elif "id" in answer.json():
                ids.append(answer.json()["id"])
    for id in ids:
        status = until(client, id, "done", "failed")
        assert str(tmp_path) not in status["error"]
    until(client, submitted(client), "done")
    assert around == {path for path in tmp_path.rglob("*") if "root" not in path.parts}
    root = client.app.state.queue.root
    assert {path.name for path in root.iterdir()} - set(ids) == {
        task for task in client.app.state.queue._tasks if task not in ids
    }


def test_what_a_reader_raises_is_no_error_of_the_server(serve, monkeypatch):
    from hdagger.domain import DOMAINS

    def broken(source, said):
        raise RuntimeError(f"{source}: what nobody thought of")

    monkeypatch.setattr(DOMAINS["pictures"], "job", broken)
    answer = submit(serve())
    assert answer.status_code == 422
    assert "RuntimeError: a.png: what nobody thought of" in answer.json()["error"]


def test_the_interface_is_what_openapi_says(serve):
    """Requests that are made up from the schema get answers that are in it."""
    hypothesis = pytest.importorskip("hypothesis")
    schemathesis = pytest.importorskip("schemathesis")
    client = serve(replace(LIMITS, seconds=2, samples=2, steps=4))
    id = submitted(client)
    until(client, id, "done")
    described = client.get("/api/openapi.json").json()
    for path, operations in described["paths"].items():
        for operation in operations.values():
            assert {"401", "403"} <= set(operation["responses"]), path
    schema = schemathesis.openapi.from_dict(described)
    schema.app = client.app
    checks = schemathesis.checks
    chosen = checks.CHECKS.get_by_names(
        [
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
        ]
    )
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=8,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        def asked(case):
            nonlocal tried
            tried += 1
            if case.path_parameters and tried % 2:
                case.path_parameters = case.path_parameters | {"id": id}
            if case.method != "DELETE":
                answer = case.call(base_url=HERE)
                case.validate_response(answer, checks=chosen)

        asked()
    assert tried > 30
    assert client.get("/api/choices").status_code == 200


def test_other_domains_are_served(serve, run, tmp_path):
    pytest.importorskip("h5py")
    code, _, error = run("ct", "simulate", "--pixels", 16, "--views", 8, "-o", "sim")
    assert code == 0, error
    client = serve()
    sinogram = (tmp_path / "sim/sinogram.npz").read_bytes()
    kinds = client.get("/api/choices").json()["domains"]
    assert next(kind for kind in kinds if kind["name"] == "ct")["suffixes"] == [
        ".h5",
        ".hdf5",
        ".npz",
    ]
    for named in ({}, {"domain": "ct"}):
        told = client.post("/api/look", files={"file": ("s.NPZ", sinogram)}, data=named).json()
        assert (told["domain"], told["wanted"], told["width"]) == ("ct", "", 128)
    said = {"domain": "pictures"}
    answer = client.post("/api/look", files={"file": ("s.npz", sinogram)}, data=said)
    assert answer.status_code == 422
    said = {"domain": "ct", "damage": {"pixels": 16}, "method": "auto", "steps": 2}
    id = submitted(client, sinogram, "s.npz", **said)
    status = until(client, id, "done")
    assert "no medical device" in status["words"][-1]
    files = made(client, id)
    assert "report.html" in files
    names = ("given.png", "mean.png", "std.png", "samples/000.png", "samples/001.png")
    for name in names:
        assert Image.open(io.BytesIO(files[name].content)).size == (16, 16)
    assert status["summary"]["shown"]["before"] == "filtered back projection"
    assert is_loopback("localhost")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--host", "0.0.0.0"], "Wanted a token for 0.0.0.0"),
        (["--host", "::"], "Wanted a token for ::"),
        (["--host", "example.org", "--token", ""], "Wanted a token"),
        (["--limit", "weight=3"], "Wanted a limit, one of bytes"),
        (["--limit", "pixels=no"], "Wanted a whole number from 1 on for pixels"),
        (["--port", 99999], "Wanted a port"),
        (["--at-once", 0], "Wanted 1 to 64 jobs"),
        (["--prior", "nothing"], "nothing"),
        (["--folder", "/proc/none"], "cannot be written"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(run, given, line, monkeypatch):
    monkeypatch.delenv("HDAGGER_TOKEN", raising=False)
    monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: pytest.fail("it is served"))
    code, out, error = run("serve", *given)
    assert (code, out) == (2, "")
    assert line in error
    assert len(error.strip().splitlines()) == 1


def test_the_limits_of_the_documentation_are_those_that_hold():
    page = (Path(__file__).parents[1] / "docs/page.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)` \| (\d+)", page, re.MULTILINE))
    both = re.search(r"^\| `steps`, `samples` \| (\d+), (\d+) \|", page, re.MULTILINE)
    told |= dict(zip(("steps", "samples"), both.groups(), strict=True))
    assert {name: int(value) for name, value in told.items()} == asdict(Limits())


def test_what_is_not_installed_is_said_in_a_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, error = run("serve")
    assert (code, "pip install 'hdagger[app]'" in error) == (2, True)


def test_the_server_starts_and_stops_by_command(tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path), "HDAGGER_TOKEN": "secret"}
    command = [sys.executable, "-m", "hdagger", "serve", "--port", "0"]
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        address, _, token = server.stdout.readline().split()[0].partition("#token=")
        assert (address.startswith("http://127.0.0.1:"), token) == (True, "secret")
        import httpx2

        with httpx2.Client(
            base_url=address, headers={"Authorization": f"Bearer {token}"}
        ) as client:
            assert client.get("/api/choices").json()["limits"]["queued"] == 8
            assert "hdagger" in client.get("/").text
            damage = json.dumps({"upscale": 2})
            files, said = {"file": ("a.png", png())}, {"steps": 1000, "damage": damage}
            id = client.post("/api/jobs", files=files, data=said).json()["id"]
            until(client, id, "running")
        port = address.rstrip("/").rpartition(":")[2]
        again = subprocess.run([*command[:-1], port], capture_output=True, text=True)
        assert (again.returncode, "Try --port 0" in again.stderr) == (2, True)
        server.send_signal(signal.SIGTERM)
        _, error = server.communicate(timeout=60)
    finally:
        server.kill()
        server.wait()
    assert server.returncode == 143
    assert error == "hdagger: Stopped; nothing is half-written.\n"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("hdagger-")]


@pytest.mark.parametrize("name", ["a.png", "a.exe", "a"])
def test_a_picture_that_unpacks_to_too_much_is_not_unpacked(serve, monkeypatch, name):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("it was unpacked"))
    for content in (bomb(4000, 4000), bomb(4000, 4000) + zipped(y=np.zeros(3))):
        answer = submit(serve(), content, name)
        assert (answer.status_code, "at most 10000 pixels" in answer.text) == (422, True)


def test_a_zip_that_unpacks_to_too_much_is_not_unpacked(serve, monkeypatch):
    client, content = serve(), zipped(y=np.zeros(3_000_000))
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was unpacked"))
    answer = submit(client, content, "a.npz")
    assert (answer.status_code, "unpacked" in answer.json()["error"]) == (422, True)
