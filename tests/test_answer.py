"""What ``hdagger restore`` answers with, and what it says of how sure that is."""

import html
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from test_command_line import QUICK, picture

from hdagger.priors.cards import BUNDLED
from hdagger.recipe import Recipe
from hdagger.restoration import Prior, measure, prepare
from hdagger.samples import PosteriorSamples

NARROW = "DDRM's error bars are far too narrow where data have noise."
BETTER = "The default, drawn, has better ones."


@pytest.fixture(autouse=True)
def damaged(run):
    """A picture to restore, in the folder that ``run`` works in."""
    picture().save("damaged.png")


def quick(name):
    return f"This is the quick way, by {name}: its error bars are far too narrow. {BETTER}"


def test_the_mean_of_eight_is_the_answer(run):
    code, out, err = run("restore", "damaged.png", "--denoise", 20, "--steps", 1)
    assert code == 0, err
    first, *_, mean, report = out.splitlines()
    assert re.fullmatch(r"The answer is the mean, from 8 samples; its .* [\d.]+ of 255\.", first)
    assert (mean, report) == ("restored/mean.png", "restored/report.html")
    assert err == ""  # a bar is for a terminal
    assert len(list(Path("restored/samples").iterdir())) == 8


def test_quick_is_one_soft_picture_and_says_what_it_gives_up(run):
    noisy = ("restore", "damaged.png", "--denoise", 20, "--quick")
    code, out, err = run(*noisy, "--steps", 2)
    assert code == 0, err
    first, second, *_ = out.splitlines()
    assert first == "The answer is from one sample, which does not tell how sure it is."
    assert second == quick("ddrm")
    assert quick("ddrm") in Path("restored/report.html").read_text()
    code, _, err = run(*noisy, "--method", "pigdm")
    assert code == 2
    assert (
        err == "hdagger: Wanted one method, but got --quick and --method pigdm. Leave one out.\n"
    )


def test_quick_is_a_choice_of_recipe_that_comes_back(run):
    assert run("restore", "damaged.png", "--denoise", 20, "--quick", "--steps", 2)[0] == 0
    recipe = Recipe.from_toml(Path("restored/recipe.toml"))
    assert (recipe.method, recipe.samples) == ("ddrm", 1)
    again = ("restore", "damaged.png", "--recipe", "restored/recipe.toml")
    assert run(*again, "-o", "again")[0] == 0
    draws = [PosteriorSamples.load(Path(n, "samples.npz")).draws for n in ("restored", "again")]
    assert torch.equal(*draws)
    varied = json.loads(run(*again, "--quick", "--samples", 2, "--json")[1])
    assert varied["recipe"]["samples"] == 2


def test_where_ddrm_cannot_quick_is_what_is_nearest_in_fewer_steps(run):
    blur = ("restore", "damaged.png", "--blur", "gauss:1", "--sigma-y", 0.1, "--quick", "--json")
    told = json.loads(run(*blur)[1])
    assert told["warning"] == quick("pigdm")
    assert (told["steps"], told["samples"]) == (20, 1)


def test_a_method_asked_for_by_name_takes_its_own_number_of_steps():
    recipe = Recipe("pigdm", samples=1)
    given = measure(torch.zeros(1, 16, 16), "none", {}, 0.1)
    prior = Prior.of(recipe)
    assert prepare(recipe, given, prior).recipe.steps == 50


def test_ddrm_is_warned_of_where_data_have_noise(run):
    noisy = ("restore", "damaged.png", "--denoise", 20, *QUICK)
    code, out, err = run(*noisy, "--method", "ddrm")
    assert code == 0, err
    assert out.splitlines()[1] == f"{NARROW} {BETTER}"
    assert f"{NARROW} {BETTER}" in html.unescape(Path("restored/report.html").read_text())
    exact = ("restore", "damaged.png", "--upscale", 2, *QUICK, "--method", "ddrm", "--json")
    for silent in (exact, (*noisy, "--json")):
        assert json.loads(run(*silent)[1])["warning"] == ""


def test_no_default_is_named_that_is_the_same(run):
    """Of a prior that nobody calibrated."""
    picture(channels=1).save("gray.png")
    shutil.copy(BUNDLED / "digits.safetensors", "mine.safetensors")
    mine = ("--prior", "mine.safetensors", *QUICK, "--json")
    told = run("restore", "gray.png", "--denoise", 20, *mine)[1]
    assert json.loads(told)["recipe"]["method"] == "ddrm"
    assert json.loads(told)["warning"] == NARROW
