"""What a person is shown: the words, the pictures in the page, and the files beside it."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from pages import images_in, is_made_again
from PIL import Image

from hdagger.domains.pictures.figures import answer_words, spread_panel, write_restoration
from hdagger.domains.pictures.writing import to_image, write_picture
from hdagger.report import Page, Panel, Section, heat_map, residual_words, table, write_page
from hdagger.samples import PosteriorSamples
from hdagger.saved import restorations_in

DRAWS = torch.rand(3, 3, 8, 10, generator=torch.Generator().manual_seed(0)) * 2 - 1
GIVEN = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(1)).double() * 2 - 1
PROVENANCE = {
    "method": "ddrm", "operator": "average:2", "sigma_y": 0.1, "nfe": 20, "seconds": 1.5,
    "chi2_dof": 1.02, "residual_max": 0.3, "checked": "Checked: as they should.", "warning": "",
    "domain": "pictures",
}  # fmt: skip


def summary(**changes):
    return PROVENANCE | changes


@pytest.mark.parametrize(
    ("chi2", "words"),
    [
        (0.2, "less than that noise would leave: the samples follow the noise too"),
        (0.79, "less than that noise would leave"),
        (0.81, "what that noise would leave"),
        (1.0, "what that noise would leave"),
        (1.24, "what that noise would leave"),
        (1.26, "more than that noise explains: the samples do not follow the data closely"),
        (40.0, "more than that noise explains"),
    ],
)
def test_the_residual_is_told_as_it_is(chi2, words):
    said = residual_words(summary(chi2_dof=chi2))
    assert f"The residual is {words}" in said
    assert f"chi2/dof {chi2:.2f}, sigma_y 0.1" in said


def test_exact_data_are_told_by_their_largest_misfit():
    said = residual_words(summary(chi2_dof=None, residual_max=3.2e-7))
    assert said == "The data were taken as exact; the samples meet them to 3.2e-07."
    said = residual_words(summary(chi2_dof=None, residual_max=0.0))
    assert said == "The data were taken as exact; the samples meet them to the last digit."


@pytest.mark.parametrize(
    ("kept", "starts", "claims"),
    [
        (1.0, "All of the numbers", True),
        (0.99996, "99.99 % of the numbers", True),
        (0.9999999, "99.99 % of the numbers", True),
        (0.998, "Only 99.80 %", False),
        (0.5, "Only 50.00 %", False),
        (0.0, "Only 0.00 %", False),
    ],
)
def test_a_certificate_claims_no_more_than_was_kept(kept, starts, claims):
    said = residual_words(summary(kept=kept))
    assert said.startswith(starts)
    assert ("could have come from" in said and "could not" not in said) == claims
    assert ("could not have come" in said) == (not claims)


def test_a_heat_map_is_black_at_zero_and_pale_at_the_top_and_rises_between():
    values = torch.linspace(0, 2, 50, dtype=torch.float64)[None].expand(4, -1)
    image = np.asarray(heat_map(values, top=2.0)).astype(int)
    assert tuple(image[0, 0]) == (0, 0, 4)
    assert tuple(image[0, -1]) == (252, 255, 164)
    assert (np.diff(image.sum(2)[0]) >= 0).all()
    assert tuple(np.asarray(heat_map(values, top=1.0))[0, -1]) == (252, 255, 164)


def test_the_spread_is_the_deviation_of_the_draws_over_the_channels():
    samples = PosteriorSamples(DRAWS, summary())
    panel = spread_panel(samples)
    expected = DRAWS.numpy().std(0, ddof=1).mean(0)
    top = float(re.search(r"pale ([\d.]+) of 255", panel.caption).group(1)) / 127.5
    assert top == pytest.approx(
        np.sort(expected.ravel())[int(0.995 * expected.size) - 1], rel=0.02
    )
    brightness = np.asarray(panel.image).astype(int).sum(2)
    order = np.argsort(expected.ravel())
    assert (np.diff(brightness.ravel()[order]) > -4).all()


def test_a_restoration_leaves_what_was_given_and_drawn(tmp_path):
    samples = PosteriorSamples(DRAWS, summary())
    told = write_restoration(tmp_path, GIVEN, samples, "method = 'ddrm'\n", write_picture)
    bytes_of = lambda x: np.asarray(to_image(x))
    for k, draw in enumerate(DRAWS):
        saved = np.asarray(Image.open(tmp_path / "samples" / f"{k:03}.png"))
        np.testing.assert_array_equal(
            saved, ((draw.numpy().transpose(1, 2, 0) + 1) * 127.5).round()
        )
    np.testing.assert_array_equal(Image.open(tmp_path / "mean.png"), bytes_of(samples.mean))
    page = (tmp_path / "report.html").read_text()
    shown = images_in(page)
    np.testing.assert_array_equal(shown["given"][0], bytes_of(GIVEN))
    np.testing.assert_array_equal(shown["the answer"][0], bytes_of(DRAWS.mean(0)))
    alone, *_, first, second, third = shown
    assert (alone, first, second, third) == ("given", "sample 1", "sample 2", "sample 3")
    deviation = 127.5 * DRAWS.double().var(0).mean().sqrt()
    assert f"the mean, from 3 samples; its standard deviation is {deviation:.3g} of 255." in page
    for k in range(3):
        np.testing.assert_array_equal(shown[f"sample {k + 1}"][0], bytes_of(DRAWS[k]))
    assert "average:2, restored by ddrm" in page
    assert "what that noise would leave (chi2/dof 1.02" in page
    assert "Checked: as they should." in page
    assert "20 network evaluations a sample, 1.5 s in all" in page
    assert "http" not in page
    assert "<script" not in page
    assert told == json.loads((tmp_path / "summary.json").read_text())
    assert told["shape"] == [3, 8, 10]
    assert (tmp_path / "recipe.toml").read_text() == "method = 'ddrm'\n"
    assert torch.equal(PosteriorSamples.load(tmp_path / "samples.npz").draws, DRAWS)
    assert is_made_again(tmp_path)


def test_the_scale_of_the_spread_is_told_in_intervals_where_a_check_promises_them():
    plain = spread_panel(PosteriorSamples(DRAWS, summary(interval_90=None)))
    top = float(re.search(r"pale ([\d.]+) of 255$", plain.caption).group(1))
    samples = PosteriorSamples(DRAWS, summary(interval_90=2.5))
    told = spread_panel(samples).caption
    reach = re.search(r"pale ([\d.]+) of 255, in 90 % intervals -\+ ([\d.]+)$", told)
    assert float(reach.group(1)) == top
    assert float(reach.group(2)) == pytest.approx(2.5 * top, rel=0.01)
    off = re.search(r"([\d.]+) of 255, in 90 % intervals -\+ (.*)\.$", answer_words(samples))
    assert float(off.group(2)) == pytest.approx(2.5 * float(off.group(1)), rel=0.01)


def test_one_sample_is_not_told_to_be_sure(tmp_path):
    samples = PosteriorSamples(DRAWS[:1], summary(warning="Too narrow."))
    write_restoration(tmp_path, GIVEN, samples, "", write_picture)
    page = (tmp_path / "report.html").read_text()
    assert "one sample, which does not tell how sure it is. Too narrow. The residual" in page
    assert list(images_in(page)) == ["given", "the answer"]
    assert not (tmp_path / "std.png").exists()


def test_words_from_files_are_not_markup(tmp_path):
    evil = "<script>alert('x')</script>"
    samples = PosteriorSamples(DRAWS, summary(operator=evil, checked=evil))
    write_restoration(tmp_path, GIVEN, samples, evil, write_picture)
    assert "<script" not in (tmp_path / "report.html").read_text()
    image = Image.new("L", (1, 1))
    rows = [{evil: evil}]
    section = Section(evil, [Panel(evil, image)] * 2, evil, flips=True, rows=rows)
    write_page(tmp_path / "p.html", Page(evil, [section], evil, [evil]))
    assert "<script" not in (tmp_path / "p.html").read_text()
    assert "<script" not in table([{evil: evil}])


def test_numbers_in_a_table_keep_their_row_and_column():
    html = table([{"": "a", "dB": 1.23456}, {"": "b", "dB": 20.0}])
    rows = re.findall(r"<tr>(.*?)(?=<tr>|</table>)", html)
    assert [re.findall(r"<t[hd]>([^<]*)", row) for row in rows] == [
        ["", "dB"], ["a", "1.235"], ["b", "20"],
    ]  # fmt: skip


def left_in(folder, draws=DRAWS):
    folder.mkdir(parents=True)
    write_restoration(
        folder, GIVEN, PosteriorSamples(draws, summary()), "seed = 0\n", write_picture
    )
    return folder


def test_the_reports_of_a_whole_batch_are_made_again(tmp_path, run):
    for name in ("out/a", "out/deeper/b", "out/.partial/c"):
        left_in(tmp_path / name)
    pages = [tmp_path / "out/a/report.html", tmp_path / "out/deeper/b/report.html"]
    for page in pages:
        page.write_text("stale")
    code, out, err = run("report", "out")
    assert (code, out.split(), err) == (0, ["out/a/report.html", "out/deeper/b/report.html"], "")
    assert all("average:2, restored by ddrm" in page.read_text() for page in pages)


def test_what_is_broken_is_told_and_the_others_are_made(tmp_path, run):
    left_in(tmp_path / "out/a")
    (left_in(tmp_path / "out/b") / "samples.npz").write_bytes(b"PK")
    (tmp_path / "out/a/report.html").unlink()
    code, out, err = run("report", "out", "--json")
    assert code == 1
    made, failed = map(json.loads, out.splitlines())
    assert made == {"folder": "out/a", "report": "out/a/report.html"}
    assert failed["error"] in err
    assert "out/b/samples.npz is not one that can be read" in err
    assert (tmp_path / "out/a/report.html").exists()


def written(text):
    return lambda folder: (folder / "summary.json").write_text(text)


def without(name):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (shutil.rmtree, "but out is none. Check it."),
        (without("recipe.toml"), "has no summary.json with recipe.toml"),
        (without("given.png"), "given.png does not exist"),
        (without("samples.npz"), "Restore again."),
        (written("[1]"), "Name the folder"),
        (written("[" * 10**5), "Name the folder"),
        (written('{"domain": 3}'), "is no name"),
        (written('{"domain": "x"}'), "Wanted a domain"),
        (written('{"domain": "pictures"}'), "out lacks something ('operator'). Restore again."),
    ],
)
def test_what_is_no_restoration_is_said_in_a_line(tmp_path, run, break_it, says):
    folder = left_in(tmp_path / "out")
    page = (folder / "report.html").read_bytes()
    break_it(folder)
    code, out, err = run("report", "out")
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert says in err
    if folder.exists():
        assert (folder / "report.html").read_bytes() == page


def test_folders_of_restorations_are_found_whole(tmp_path):
    folder = left_in(tmp_path / "out")
    assert restorations_in(folder) == [folder]
    assert restorations_in(tmp_path) == [folder]


def test_a_page_is_flipped_through_fits_a_phone_and_prints_all(tmp_path):
    """In a browser: nothing is asked of any host, and nothing runs."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here")
    left_in(tmp_path / "out")
    wide = [{f"a long name of column {k}": 1.0 for k in range(30)}]
    panels = [Panel(f"sample {k}: <{k}>", to_image(DRAWS[k])) for k in range(3)]
    sections = [Section("Samples", panels, flips=True), Section("Numbers", rows=wide)]
    write_page(tmp_path / "wide.html", Page("A page", sections, "x = '" + "long" * 99 + "'"))
    visible = (
        "[...document.querySelectorAll('.flips')[0].querySelectorAll('figure')]"
        ".map(figure => getComputedStyle(figure).visibility == 'visible')"
    )
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800}, java_script_enabled=True)
        asked, errors = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: errors.append(message.text))
        page.goto((tmp_path / "wide.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate(visible) == [True, True, True]
        page.click("label[for=s0-n1]")
        assert page.evaluate(visible) == [False, True, False]
        page.keyboard.press("ArrowRight")
        assert page.evaluate(visible) == [False, False, True]
        page.click("label[for=s0-blink]")
        seen = set()
        for _ in range(30):
            seen.add(tuple(page.evaluate(visible)))
            page.wait_for_timeout(100)
        assert {sum(each) for each in seen} <= {0, 1}
        assert len({each.index(True) for each in seen if any(each)}) == 3
        page.emulate_media(media="print")
        assert page.evaluate(visible) == [True, True, True]
        page.goto((tmp_path / "out/report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        dark = "getComputedStyle(document.documentElement).colorScheme"
        assert page.evaluate(dark) == "light"  # as it prints
        page.emulate_media(media="screen", color_scheme="dark")
        text = page.evaluate("getComputedStyle(document.body).color")
        assert text == "rgb(255, 255, 255)"
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert errors == []
