"""The page in a real browser: paint, restore, compare, cancel, save; what is broken is told.

Screenshots go to the folder that ``HDAGGER_SCREENSHOTS`` names, else to pytest's own.
"""

import io
import os
import re
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.samples import PosteriorSamples
from hdagger.serving.limits import Limits

uvicorn = pytest.importorskip("uvicorn")
playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("there is no chromium: apt-get install chromium", allow_module_level=True)

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LIMITS = Limits(bytes=200_000, samples=64)
LONG = 120_000
"""Milliseconds that a busy machine may take for anything."""


def encoded(image, kind="PNG", **how):
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def photo(side=64, seed=0):
    """A picture of a few soft colours, and noise."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    smooth = np.asarray(rough.resize((side, side), Image.Resampling.BICUBIC), float)
    noisy = smooth + rng.normal(0, 12, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    from hdagger.serving.api import application

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("page") / "tiny.safetensors"
    UNetDenoiser(UNetShape(widths=(8,), embedding=8, heads=2)).save(path)
    return application(path.parent / "root", LIMITS, str(path))


@pytest.fixture(scope="module")
def address(app):
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page. What its console complains of, and what it asks of others, is kept."""
    contexts, complaints, asked = [], [], []

    def opened(viewport=WIDE, scheme="light", where="", **options):
        context = browser.new_context(viewport=viewport, color_scheme=scheme, **options)
        context.set_default_timeout(LONG)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address + where)
        page.locator("#method option").first.wait_for(state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    refused = "the server responded with a status of 4"  # the browser's own note of a refusal
    assert [said for said in complaints if refused not in said] == []
    assert asked
    assert all(url.startswith((address, f"blob:{address}")) for url in asked)


@pytest.fixture
def shot(tmp_path):
    """Keeps a screenshot."""
    folder = Path(os.environ.get("HDAGGER_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: page.screenshot(path=folder / f"{name}.png", full_page=True)


def give(page, content, name="a.png"):
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})


def view(page, name):
    """Waits until the page shows this, or an error, which it should not."""
    page.locator(f"body[data-view={name}], #error:not([hidden])").first.wait_for()
    assert page.locator("#error").inner_text() == ""


def chosen(page, samples=2, steps=3):
    """Few samples by few steps."""
    if not page.locator("#samples").is_visible():
        page.click("#more summary")
    page.fill("#samples", str(samples))
    page.fill("#steps", str(steps))


def stroke(page, *points):
    """Draws a line through points, in shares of the picture."""
    box = page.locator("#holes").bounding_box()
    place = lambda x, y: (box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.mouse.move(*place(*points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(*point), steps=4)
    page.mouse.up()


def saved(page, title):
    """The bytes that a download brings."""
    with page.expect_download() as download:
        page.get_by_text(title, exact=True).click()
    return download.value.path().read_bytes()


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_from_the_example_to_its_restoration(visit, shot, viewport, scheme):
    """With no choice made but how long it may take."""
    page, name = visit(viewport, scheme), f"{viewport['width']}-{scheme}"
    shot(page, f"{name}-start")
    page.click("#example")
    view(page, "edit")
    assert "transparent pixels" in page.locator("#notes").inner_text()
    shot(page, f"{name}-loaded")
    chosen(page)
    page.click("#restore")
    view(page, "done")
    assert page.locator("#gallery button").all_inner_texts() == [
        "Answer", "How sure", "Sample 1", "Sample 2",
    ]  # fmt: skip
    assert (
        page.locator("#answer").inner_text().startswith("The answer is the mean, from 2 samples")
    )
    said = page.locator("#caption")
    assert said.inner_text() == "Given at the left, answer at the right"
    page.get_by_role("button", name="How sure", exact=True).click()
    assert "where samples disagree at the right; black 0, pale" in said.inner_text()
    page.get_by_role("button", name="Answer", exact=True).click()
    shot(page, f"{name}-done")
    sideways = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert sideways <= 0, "nothing is beyond the right edge"


def test_what_is_painted_is_missing_and_nothing_else(visit, tmp_path):
    page = visit()
    give(page, encoded(photo()))
    view(page, "edit")
    assert "Found noise" in page.locator("#notes").inner_text()
    page.fill("#noise", "0")
    stroke(page, (0.25, 0.5), (0.75, 0.5))
    stroke(page, (0.1, 0.1), (0.9, 0.1))
    page.click("#undo")
    page.click("#rectangle summary")
    for field, value in (("left", 40), ("top", 4), ("width", 8), ("height", 6)):
        page.fill(f"#{field}", str(value))
    page.click("#add")
    page.click("#eraser")
    stroke(page, (0.5, 0.4), (0.5, 0.6))
    chosen(page)
    page.click("#restore")
    view(page, "done")
    mask = pixels(saved(page, "Holes, PNG"))[..., 0] > 127
    assert mask.shape == (64, 64)
    assert mask[4:10, 40:48].all()
    assert mask[32, 20] and mask[32, 44] and not mask[32, 32] and not mask[6, 10]  # noqa: PT018
    assert 48 < mask.sum() < 300
    (tmp_path / "samples.npz").write_bytes(saved(page, "Samples, .npz"))
    draws = PosteriorSamples.load(tmp_path / "samples.npz").draws
    given = torch.from_numpy(np.asarray(photo()).transpose(2, 0, 1) / 127.5 - 1)
    kept = ((draws - given).abs() < 1e-5).all(dim=0).all(dim=0)
    assert np.array_equal(kept.numpy(), ~mask)
    assert b'mask = "holes.png"' in saved(page, "Recipe")
    assert b"<h2>" in saved(page, "Report")
    assert pixels(saved(page, "Answer, PNG")).shape == (64, 64, 3)


def test_several_damages_at_once_and_a_line_between_before_and_after(visit):
    page = visit()
    give(page, encoded(photo(32)))
    view(page, "edit")
    page.select_option("#blur", "gauss")
    page.fill("#blur-size", "1")
    page.select_option("#upscale", "2")
    page.fill("#noise", "12")
    chosen(page, 1)
    page.click("#restore")
    view(page, "done")
    cut = page.locator("#cut")
    assert cut.evaluate("it => document.activeElement === it")
    before = cut.input_value()
    page.keyboard.press("ArrowRight")
    assert int(cut.input_value()) == int(before) + 1
    assert f"{int(before) + 1}%" in page.locator("#frame").get_attribute("style")
    recipe = saved(page, "Recipe").decode()
    for line in ("upscale = 2", 'blur = "gauss:1"', "denoise = 12"):
        assert line in recipe
    assert pixels(saved(page, "Answer, PNG")).shape == (64, 64, 3)
    page.click("#change")
    page.fill("#noise", "")
    page.fill("#words", "average:2 | jpeg:50")
    page.click("#restore")
    view(page, "done")
    assert b'operator = "average:2 | jpeg:50"' in saved(page, "Recipe")


def test_a_jpeg_has_its_certificate(visit):
    page = visit()
    give(page, encoded(photo(32), "JPEG", quality=20), "a.jpg")
    view(page, "edit")
    assert "of quality 20" in page.locator("#notes").inner_text()
    chosen(page)
    page.click("#restore")
    view(page, "done")
    told = page.locator("#found").inner_text()
    assert "of quality 20" in told
    assert "numbers in the data are those of the samples" in told


def test_it_grows_and_is_cancelled(visit, shot, app):
    page = visit()
    give(page, encoded(photo()))
    view(page, "edit")
    chosen(page, 64, 900)
    page.click("#restore")
    page.locator("#shown[src]").wait_for()
    first = page.locator("#shown").get_attribute("src")
    page.locator(f"#shown:not([src='{first}'])").wait_for()
    assert page.locator("#shown").evaluate("it => it.naturalWidth") == 64
    page.get_by_text("left.").wait_for()
    shot(page, "running")
    page.click("#cancel")
    view(page, "edit")
    assert not page.locator("#error").is_visible()
    (running,) = [task for task in list(app.state.queue._tasks.values()) if task.total >= 900]
    assert running.state == "cancelled"
    assert running.done < running.total / 2


def scan(folder):
    """k-space of a disc in the layout of fastMRI, half of its lines, and the maps of 4 coils."""
    h5py = pytest.importorskip("h5py")
    from hdagger.domains.mri.coils import birdcage
    from hdagger.domains.mri.kspace import to_kspace

    side, rng = 32, np.random.default_rng(0)
    near = torch.linspace(-1, 1, side)
    disc = (near[:, None].square() + near.square() < 0.5).to(torch.complex128)
    maps = birdcage(4, side, side)
    noise = torch.from_numpy(rng.normal(0, 0.02, (2, 4, side, side)))
    kspace = to_kspace(maps * disc) + torch.complex(*noise)
    mask = np.zeros(side, dtype=bool)
    mask[::3] = mask[12:20] = True
    with h5py.File(folder / "kspace.h5", "w") as file:
        file["kspace"] = (kspace.numpy() * mask)[None].astype(np.complex64)
        file["mask"] = mask
    np.save(folder / "maps.npy", maps.numpy())
    return folder / "kspace.h5", {"maps": folder / "maps.npy"}, "sigma=0.02"


def sinogram(folder):
    from hdagger.domains.ct.pages import write_simulation
    from hdagger.domains.ct.simulation import Plan, simulate_phantom

    write_simulation(folder, simulate_phantom(Plan(12, 180.0, 1e4, 32, 0)))
    return folder / "sinogram.npz", {}, "pixels=32"


def lensed(folder):
    pytest.importorskip("astropy")
    from hdagger.domains.lensing.pages import write_simulation
    from hdagger.domains.lensing.simulation import scene

    write_simulation(folder, *scene(None, None, 24, 0.15, 0.3, 25.0, 0))
    besides = {name: folder / file for name, file in
               (("lens", "lens.toml"), ("noise", "noise.fits"), ("psf", "psf.fits"))}  # fmt: skip
    return folder / "image.fits", besides, "pixels=16"


@pytest.mark.parametrize(
    ("made", "kind", "before", "scale"),
    [
        (scan, "mri", "The measured part of k-space alone", "magnitude"),
        (sinogram, "ct", "Filtered back projection", "soft tissue, -160 to 240 HU"),
        (lensed, "lensing", "", "brightness by an arcsinh"),
    ],
)
def test_scans_and_lenses_are_restored_and_their_answer_is_seen(
    visit, shot, tmp_path, made, kind, before, scale
):
    page = visit()
    file, besides, options = made(tmp_path)
    page.set_input_files("#file", file)
    view(page, "edit")
    assert page.locator("#kind").input_value() == kind
    shot(page, f"{kind}-loaded")
    for name, path in besides.items():
        page.set_input_files(f"#beside input[name={name}]", path)
    chosen(page)
    page.fill("#words", options)
    page.click("#restore")
    view(page, "done")
    gallery = page.locator("#gallery button")
    assert gallery.all_inner_texts()[-4:] == ["Answer", "How sure", "Sample 1", "Sample 2"]
    gallery.filter(has_text=re.compile("^Answer$")).click()
    caption = page.locator("#caption")
    assert caption.inner_text().startswith(before or "Answer")
    assert caption.inner_text().endswith(f"nswer{' at the right' if before else ''}; {scale}")
    assert page.locator("#cut").is_visible() == page.locator("#given").is_visible() == bool(before)
    answer = pixels(saved(page, "Answer, PNG"))
    width = page.locator("#shown").evaluate("it => it.decode().then(() => it.naturalWidth)")
    assert answer.shape[:2] == (width, width) == ((16, 16) if kind == "lensing" else (32, 32))
    assert answer.min() < 50
    assert answer.max() > 200
    shot(page, f"{kind}-done")
    gallery.filter(has_text=re.compile("^How sure$")).click()
    assert re.search("here samples disagree.*; black 0, pale", caption.inner_text())


def test_a_clip_is_seen_and_its_answer_plays(visit, shot, tmp_path, monkeypatch):
    from motion_clips import stepping

    from hdagger.domains.motion.files import write_motion

    monkeypatch.setattr("hdagger.domains.motion.render.offscreen", lambda: None)  # it is quick
    write_motion(tmp_path / "walk.npz", stepping(30))
    page = visit()
    page.set_input_files("#file", tmp_path / "walk.npz")
    view(page, "edit")
    assert page.locator("#kind").input_value() == "motion"
    assert "Found a clip of 1.0 s" in page.locator("#notes").inner_text()
    shot(page, "motion-loaded")
    chosen(page)
    page.fill("#words", "keep=0:10,20:30")
    page.click("#restore")
    view(page, "done")
    assert page.locator("#gallery button").all_inner_texts() == ["Answer", "Sample 2"]
    assert page.locator("#caption").inner_text() == "Answer"
    assert not page.locator("#cut").is_visible()
    assert page.locator("#shown").evaluate("it => it.decode().then(() => it.naturalWidth)") == 320
    shot(page, "motion-done")
    assert saved(page, "Answer, BVH").startswith(b"HIERARCHY")


def test_two_people_at_once_see_their_own(visit, app):
    one, two = visit(), visit(NARROW)
    give(one, encoded(photo(64, 1)), "one.png")
    give(two, encoded(photo(32, 2)), "two.png")
    for page, samples, steps in ((one, 64, 900), (two, 2, 3)):
        view(page, "edit")
        chosen(page, samples, steps)
        page.click("#restore")
        view(page, "run")
        if page is one:
            page.locator("#shown[src]").wait_for()
    two.get_by_text("1 job before this one.").wait_for()
    one.click("#again")
    view(one, "start")
    view(two, "done")
    view(one, "start")
    assert two.locator("#shown").evaluate("it => it.naturalWidth") == 32
    end = time.monotonic() + LONG / 1000
    while any(task.name == "one.png" for task in list(app.state.queue._tasks.values())):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("<img src=x onerror=alert(1)>.png", b"no picture", "is not one that can be read"),
        ("empty.png", b"", "is empty"),
        ("cut.png", encoded(photo())[:2000], "is broken"),
        ("large.png", bytes(LIMITS.bytes + 1), f"Wanted at most {LIMITS.bytes} bytes"),
        ("wide.png", encoded(Image.new("L", (2000, 1000))), "at most 1000000 pixels"),
    ],
)
def test_what_cannot_be_opened_is_told(visit, shot, name, content, line):
    page = visit(NARROW)
    give(page, content, name)
    error = page.locator("#error")
    error.wait_for()
    assert line in error.inner_text()
    assert page.locator("img[src=x]").count() == 0
    shot(page, f"error-{name[:5].strip('<')}")
    give(page, encoded(photo(32)))
    view(page, "edit")
    assert not error.is_visible()


def test_a_name_is_shown_as_text(visit):
    page, name = visit(), "<b onclick=alert(1)>x<b>.png"
    give(page, encoded(photo(16)), name)
    view(page, "edit")
    assert page.locator("#name").inner_text() == name
    assert page.locator("#name b").count() == 0


def test_the_command_lines_errors_are_the_pages(visit):
    page = visit()
    give(page, encoded(Image.new("L", (32, 32), 90)), "clean.png")
    view(page, "edit")
    assert "no holes and next to no noise" in page.locator("#notes").inner_text()
    page.click("#restore")
    page.locator("#error").wait_for()
    assert "Say what happened to it: --mask" in page.locator("#error").inner_text()
    page.click("#more summary")
    page.fill("#words", "gamma:2")
    page.select_option("#method", "ddrm")
    page.click("#restore")
    page.get_by_text("needs an operator that is a SVDOperator").wait_for()


def test_it_works_by_touch_and_its_parts_have_names(visit):
    page = visit(NARROW, has_touch=True)
    give(page, encoded(photo(32)))
    view(page, "edit")
    page.locator("#holes").tap()
    assert page.locator("#undo").is_enabled()
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button, canvas, progress")]
            .filter((it) => !(it.labels?.length || it.ariaLabel || it.textContent.trim()))
            .map((it) => it.id)"""
    )
    assert nameless == []
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_a_token_is_asked_for_or_comes_with_the_address(browser, tmp_path):
    from hdagger.serving.api import application

    app = application(tmp_path, LIMITS, token="secret")
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        for known in (False, True):
            context = browser.new_context()
            context.set_default_timeout(LONG)
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{port}/{'#token=secret' if known else ''}")
            if not known:
                page.fill("#token", "secret")
                page.click("#ask-form button")
            page.locator("#method option").first.wait_for(state="attached")
            assert "secret" not in page.url
            context.close()
    finally:
        server.should_exit = True
        thread.join()
