"""Adding, checking and guiding priors: real files, real networks at tiny size."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from test_huggingface import folder_of, pipeline  # noqa: F401

from hdagger import Measurement, Recipe, restore
from hdagger.covariance import Isotropic
from hdagger.domains.pictures import prior_checks as checks
from hdagger.errors import FileError, SettingError
from hdagger.operators.decoded import Decoded
from hdagger.operators.spectral import Dense
from hdagger.priors import checkpoint, zoo
from hdagger.priors.analytic import GaussianField, GaussianMixture
from hdagger.priors.base import Counted
from hdagger.priors.classes import ClassifierFree, ClassifierGuided
from hdagger.priors.classifier import NoisyClassifier
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.problem import Problem
from hdagger.samplers import METHODS
from hdagger.samplers.walk import karras_levels
from hdagger.tensors import SampleNoise

F64 = torch.float64
TINY = UNetShape(channels=1, widths=(8, 16), embedding=16, heads=2, classes=3)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data/hdagger/priors"


def shaken(network):
    torch.manual_seed(0)
    for weight in network.parameters():
        weight.data = 0.1 * torch.randn_like(weight)
    return network.eval().requires_grad_(False)


def test_a_prior_is_added_listed_and_used(run, home):
    shaken(UNetDenoiser(TINY)).save(Path("tiny.safetensors"))
    code, out, _ = run("priors", "add", "tiny", "--from", "tiny.safetensors", "--licence", "CC0")
    assert code == 0
    assert "hdagger priors check tiny" in out
    assert {path.name for path in home.iterdir()} == {"tiny.toml", "tiny.safetensors"}
    card = zoo.card("tiny")
    assert (card.channels, card.classes, card.licence) == (1, 3, "CC0")
    assert "tiny  pictures in [-1, 1]" in run("priors")[1]
    Image.effect_noise((12, 12), 60).save("noisy.png")
    quick = ("restore", "noisy.png", "--denoise", 60, "--prior", "tiny", "--samples", 1)
    for more in ((), ("--label", 2), ("--label", 2, "--guidance", 3), ("--save-memory",)):
        code, out, err = run(*quick, "--steps", 3, *more, "--json")
        assert code == 0, err
        assert json.loads(out)["nfe"] == (6 if "--guidance" in more else 3)
    assert Recipe.from_toml(Path("restored/recipe.toml")).save_memory
    code, _, err = run(*quick, "--label", 3)
    assert code == 2
    assert "0 to 2" in err
    code, _, err = run("priors", "add", "tiny", "--from", "tiny.safetensors")
    assert code == 2
    assert "already" in err


def test_weights_that_were_exchanged_are_refused(run, home):
    shaken(UNetDenoiser(TINY)).save(Path("tiny.safetensors"))
    zoo.add("tiny", "tiny.safetensors")
    weights = home / "tiny.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(FileError, match="sha256"):
        zoo.load(zoo.card("tiny"))
    (home / "tiny.toml").write_text("colour = 3")
    code, _, err = run("priors")
    assert code == 2
    assert "tiny.toml" in err


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch exploded",))


def broken_files():
    torch.save({"weights": Bomb()}, "bomb.pt")
    torch.save([torch.zeros(2)], "list.pt")
    torch.save({"state": {"a": torch.zeros(2)}}, "nested.pt")
    torch.save({"a": torch.zeros(1).expand(10**12)}, "large.pt")
    torch.save({"a": torch.zeros(2)}, "other.pt")
    save_file({"time_embedding.linear_1.weight": torch.zeros(2, 2)}, "part.safetensors")
    save_file({"a": torch.zeros(2)}, "kind.safetensors", {"hdagger": '{"magic": {}}'})
    save_file({"a": torch.zeros(2)}, "unet.safetensors", {"hdagger": '{"unet": {"widths": 3}}'})
    whole = Path("other.pt").read_bytes()
    Path("half.pt").write_bytes(whole[: len(whole) // 2])
    Path("empty.pt").touch()
    Image.new("RGB", (8, 8)).save("picture.png")
    Path("picture.png").rename("picture.pt")
    Path("network.pkl").write_bytes(b"\x80\x04.")
    Path("folder").mkdir()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("bomb.pt", "holds code"),
        ("list.pt", "holds list"),
        ("nested.pt", "keys state"),
        ("large.pt", "promises"),
        ("other.pt", "nothing known"),
        ("part.safetensors", "give its folder"),
        ("kind.safetensors", "magic"),
        ("unet.safetensors", "not one"),
        ("half.pt", "no whole checkpoint"),
        ("empty.pt", "0 bytes"),
        ("picture.pt", "no whole checkpoint"),
        ("network.pkl", "--trust-pickle"),
        ("folder", "config.json"),
        ("gone.pt", "does not exist"),
    ],
)
def test_what_is_no_checkpoint_is_one_line_and_nothing_happens(source, says, run, home):
    broken_files()
    code, out, err = run("priors", "add", "mine", "--from", source)
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    assert not home.exists() or not list(home.iterdir())
    assert not Path("exploded").exists()


def test_a_name_is_no_path():
    for name in ("../evil", "a/b", "", ".hidden", "x.safetensors", "photo"):
        with pytest.raises(SettingError):
            zoo.add(name, "tiny.safetensors")


MIXTURE = GaussianMixture(
    torch.tensor([[2.0, 0.0, 0.0], [-1.0, 1.0, 0.0], [0.0, -2.0, 1.0]]), std=0.5
)


class OfTheMixture:
    """The mixture as a prior with classes, its components; its exact classifier beside it."""

    def __call__(self, x, sigma, label=None):
        if label is None:
            return MIXTURE(x, sigma)
        v = MIXTURE.std**2
        return (v * x + sigma**2 * MIXTURE.means[label]) / (v + sigma**2)

    @staticmethod
    def classify(x, sigma):
        return MIXTURE.responsibilities(x, sigma).log()


@pytest.mark.parametrize("guidance", [0.0, 1.0, 2.5])
def test_both_ways_to_a_label_are_one_in_exact_arithmetic(guidance):
    """Bayes' rule at every level: grad log p(x | c) - grad log p(x) = grad log p(c | x)."""
    x, label = SampleNoise(0, [(i,) for i in range(4)])((4, 3)), torch.tensor([0, 1, 2, 0])
    for sigma in (0.1, 1.0, 5.0):
        level = torch.tensor(sigma, dtype=F64)
        free = ClassifierFree(OfTheMixture(), label, guidance)(x, level)
        guided = ClassifierGuided(MIXTURE, OfTheMixture.classify, label, guidance)(x, level)
        torch.testing.assert_close(free, guided)
    component = OfTheMixture()(x, level, label)
    torch.testing.assert_close(ClassifierFree(OfTheMixture(), label)(x, level), component)
    counted = Counted(OfTheMixture())
    ClassifierFree(counted, label, guidance)(x, level)
    assert counted.nfe == (1 if guidance == 1 else 2)


@pytest.mark.parametrize("method", ["ddim", "ddrm", "pigdm", "dps"])
def test_every_sampler_goes_to_its_label(method):
    H = Dense(torch.tensor([[0.0, 0.0, 1.0]], dtype=F64))
    label = torch.arange(60) % 3
    noise = [SampleNoise(0, [(i,) for i in range(60)]) for _ in range(2)]
    problem = Problem(torch.full((60, 1), 0.3, dtype=F64), H, 0.5)
    levels = karras_levels(60, low=0.01, high=20.0)
    found = [
        METHODS[method].fitted(problem, Isotropic()).sample(prior, problem, levels, draws)
        for prior, draws in zip(
            (
                ClassifierFree(OfTheMixture(), label),
                ClassifierGuided(MIXTURE, OfTheMixture.classify, label),
            ),
            noise,
            strict=True,
        )
    ]
    torch.testing.assert_close(found[0], found[1])
    assert (MIXTURE.responsibilities(found[0], 0.01).argmax(1) == label).double().mean() > 0.9


def test_a_classifier_guides_what_knows_no_classes(home):
    shape = UNetShape(channels=1, widths=(8, 16), embedding=16, heads=2)
    shaken(UNetDenoiser(shape)).save(Path("plain.safetensors"))
    shaken(NoisyClassifier(TINY)).save(Path("guide.safetensors"))
    zoo.add("guide", "guide.safetensors")
    zoo.add("plain", "plain.safetensors", classifier="guide")
    card = zoo.card("plain")
    network = zoo.load(card)
    x, sigma = torch.randn(2, 1, 8, 8, dtype=F64), torch.tensor(0.5, dtype=F64)
    classifier = zoo.load_classifier("guide")
    torch.testing.assert_close(classifier(x, sigma).exp().sum(1), torch.ones(2, dtype=F64))
    y = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(classifier(y, sigma)[:, 1].sum(), y)
    expected = network(x, sigma) + 2 * sigma**2 * gradient
    torch.testing.assert_close(zoo.towards(network, card, 1, 2.0)(x, sigma), expected)
    assert zoo.towards(network, card, None, 1.0) is network
    with pytest.raises(FileError, match="not one of classifier"):
        zoo.load_classifier("plain")
    with pytest.raises(FileError, match="not one of unet"):
        zoo.load(zoo.card("guide"))
    with pytest.raises(SettingError, match="gone"):
        zoo.add("third", "plain.safetensors", classifier="gone")


def test_guidance_without_a_label_is_refused():
    network, card = OfTheMixture(), zoo.Card("mixture", Path(), classes=3)
    with pytest.raises(SettingError, match="Say --label"):
        zoo.towards(network, card, None, 2.0)
    for guidance in (float("nan"), -1.0, 1e9):
        with pytest.raises(SettingError, match="0 to 100"):
            zoo.towards(network, card, 1, guidance)


def test_a_loaded_prior_is_kept_between_calls(home, monkeypatch):
    shaken(UNetDenoiser(TINY)).save(Path("tiny.safetensors"))
    zoo.add("tiny", "tiny.safetensors")
    opened, hashed = [], []
    monkeypatch.setattr(zoo, "_open", lambda *a, f=zoo._open: opened.append(a) or f(*a))
    monkeypatch.setattr(
        hashlib, "file_digest", lambda *a, f=hashlib.file_digest: hashed.append(a) or f(*a)
    )
    x, sigma = torch.randn(1, 1, 8, 8), torch.tensor(0.5)
    first = zoo.load(zoo.card("tiny"))(x, sigma)
    for _ in range(3):
        torch.testing.assert_close(zoo.load(zoo.card("tiny"))(x, sigma), first)
    assert (len(opened), len(hashed)) == (1, 1)
    zoo.load(zoo.card("tiny"), save_memory=True)
    assert len(opened) == 2
    other = UNetDenoiser(TINY)
    other.save(Path("tiny.safetensors"))
    zoo.load(zoo.card("tiny.safetensors"))
    assert len(opened) == 3
    assert len(zoo._kept) <= zoo.MOST_KEPT
    (home / "tiny.safetensors").write_bytes(Path("tiny.safetensors").read_bytes())
    with pytest.raises(FileError, match="sha256"):
        zoo.load(zoo.card("tiny"))


PACKAGE = """
import torch
from hdagger.priors import checkpoint

class Half(torch.nn.Module):
    channels, classes, size, sigma_range = 1, 0, 0, (0.01, 10.0)

    def __init__(self, share):
        super().__init__()
        self.share = torch.nn.Parameter(torch.tensor(share), requires_grad=False)

    def forward(self, x, sigma, label=None):
        return self.share * x

    def save(self, path):
        checkpoint.write(path, "half", {}, self.state_dict())

def load(path):
    _, _, state = checkpoint.read(path)
    return Half(float(state["share"]))

def broken(path):
    raise OSError("no\\nidea")
"""


def test_another_package_adds_a_kind_of_prior(run, home, tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "halved-1.0.dist-info").mkdir(parents=True)
    (site / "halved.py").write_text(PACKAGE)
    (site / "halved-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: halved\n")
    (site / "halved-1.0.dist-info/entry_points.txt").write_text(
        "[hdagger.priors]\nhalf = halved:load\nworse = halved:broken\ngone = halved:nothing\n"
    )
    save_file({"share": torch.tensor(0.5)}, "half.safetensors", {"hdagger": '{"half": {}}'})
    with pytest.raises(FileError, match="not one of unet"):
        zoo.load(zoo.card("half.safetensors"))
    monkeypatch.syspath_prepend(site)
    x = torch.ones(1, 1, 4, 4)
    assert zoo.load(zoo.card("half.safetensors"))(x, torch.tensor(1.0)).mean() == 0.5
    assert run("priors", "add", "half", "--from", "half.safetensors")[0] == 0
    assert zoo.card("half").sigma_max == 10
    for kind in ("worse", "gone"):
        save_file(
            {"share": torch.tensor(0.5)}, "x.safetensors", {"hdagger": f'{{"{kind}": {{}}}}'}
        )
        code, out, err = run("priors", "check", "x.safetensors")
        assert (code, out, err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    "description",
    [
        '{"unet": {"widths": [1000000000]}}',
        '{"unet": {"widths": [30000, 30000]}}',
        '{"unet": {"widths": [8, 16], "down": 900000}}',
        '{"unet": {"widths": [8, 16], "heads": 0}}',
        '{"unet": {"widths": "ab"}}',
        '{"unet": {"widths": [8, 16], "sigma_data": NaN}}',
        '{"unet": [1]}',
        '{"unet": {}, "unet2d": {}}',
        '{"unet2d": {"config": {"layers_per_block": 900000}}}',
        '{"unet2d": {"config": {"block_out_channels": [32, 0]}}}',
        '{"unet2d": {"config": 3}}',
        '{"latent": {}}',
        '{"adm-classifier": {}}',
        '{"edm": {}}',
        "[" * 5000,
        "[" + "1," * 200_000 + "1]",
        "",
    ],
    ids=lambda text: text[:50],
)
def test_a_description_is_bounded_and_one_line(description, run, home):
    save_file({"a": torch.zeros(2)}, "x.safetensors", {"hdagger": description})
    code, out, err = run("priors", "check", "x.safetensors")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "Wanted" in err
    Path("y.safetensors").write_bytes((10**15).to_bytes(8, "little") + b"{}")
    code, _, err = run("priors", "check", "y.safetensors")
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "change",
    [{"heads": 0}, {"heads": 3}, {"heads": "x"}, {"sigma_data": 0}, {"sigma_data": [1]}],
    ids=str,
)
def test_a_shape_that_cannot_be_called_is_refused(change):
    shaken(UNetDenoiser(TINY)).save(Path("tiny.safetensors"))
    kind, build, state = checkpoint.read(Path("tiny.safetensors"))
    checkpoint.write(Path("other.safetensors"), kind, build | change, state)
    with pytest.raises(FileError, match="is not one"):
        zoo.load(zoo.card("other.safetensors"))


def test_a_packed_checkpoint_is_not_unpacked():
    import zipfile

    torch.save({"a": torch.zeros(10**6)}, "plain.pt")
    with (
        zipfile.ZipFile("plain.pt") as plain,
        zipfile.ZipFile("packed.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(FileError, match="no whole checkpoint"):
        checkpoint.read_state(Path("packed.pt"))


@pytest.mark.parametrize("name", ["\N{GRINNING FACE}.safetensors", 'a "b".safetensors'])
def test_a_card_says_where_it_came_from_whatever_the_name(name, home):
    shaken(UNetDenoiser(TINY)).save(Path(name))
    zoo.add("tiny", name)
    assert zoo.card("tiny").source == name


@pytest.mark.parametrize("name", ["a\nb.safetensors", "a\udc80.safetensors", "x" * 5000])
def test_a_name_that_cannot_be_noted_is_refused(name, run):
    Image.new("L", (8, 8)).save("a.png")
    for arguments in (
        ("restore", "a.png", "--denoise", 9, "--prior", name),
        ("priors", "check", name),
        ("priors", "add", "mine", "--from", name),
    ):
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "Rename it" in err


def test_a_latent_prior_restores_through_its_decoder(pipeline, run):  # noqa: F811
    code, out, err = run("priors", "add", "sd", "--from", pipeline, "--prompt", "a b")
    assert code == 0, err
    Image.effect_noise((16, 16), 60).convert("RGB").save("a.png")
    Image.new("L", (16, 16)).save("m.png")
    for more in (("--method", "dps"), ("--method", "pigdm", "--label", 0, "--guidance", 2)):
        code, out, err = run(
            "restore", "a.png", "--mask", "m.png", "--prior", "sd", "--samples", 1, "--steps", 2,
            "--json", *more,
        )  # fmt: skip
        assert code == 0, err
        assert json.loads(out)["shape"] == [3, 16, 16]


def test_an_operator_through_an_orthonormal_decoder_keeps_its_promises(generator):
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=F64))[0]
    H = Dense(torch.randn(4, 6, generator=generator, dtype=F64))
    through = Decoded(H, lambda z: z @ rotation.T, lambda x: x @ rotation, (6,))
    z = torch.randn(3, 6, generator=generator, dtype=F64)
    torch.testing.assert_close(through(through.pinv(through(z))), through(z))
    assert through.rank == H.rank


def test_a_true_denoiser_passes_the_checks_and_others_do_not():
    field = GaussianField(16)
    noise = SampleNoise(1, [(i,) for i in range(24)])
    x0 = field.sample(24, noise)
    sigmas = torch.tensor([0.05, 0.2, 1.0, 3.0], dtype=F64)

    def found(prior):
        return checks.check_levels(prior, x0, sigmas, noise)

    for level in found(field):
        assert level.denoises
        assert level.is_mean
        assert level.asymmetry < 1e-10
    assert not any(level.denoises for level in found(lambda x, sigma: x))
    wrong_level = found(lambda x, sigma: field(x, 3 * sigma))
    assert not all(level.is_mean for level in wrong_level)
    halved = found(lambda x, sigma: field(x / 2, sigma / 2))
    assert not all(level.is_mean for level in halved)
    a, b = torch.arange(16), (torch.arange(16) + 5) % 16
    turned = found(lambda x, sigma: field(x[..., a, :][..., b], sigma))
    assert all(level.asymmetry > 0.5 for level in turned)


def test_the_check_says_it_in_words(run, home):
    shaken(UNetDenoiser(TINY)).save(Path("tiny.safetensors"))
    code, out, err = run("priors", "check", "tiny.safetensors", "--size", 8, "--count", 1)
    assert code == 1, err
    assert "s a call" in out
    folder = Path("pictures")
    folder.mkdir()
    Image.effect_noise((20, 16), 60).save(folder / "a.png")
    code, out, err = run(
        "priors", "check", "tiny.safetensors", "--pictures", folder, "--size", 8, "--json"
    )
    assert code == 1, err
    found = json.loads(out)
    assert found["sound"] is False
    assert len(found["levels"]) == checks.LEVELS
    for arguments, says in (
        (("tiny.safetensors", "--pictures", "gone"), "has none"),
        (("tiny.safetensors", "--count", 0), "1 to 64"),
        (("nothing",), "hdagger priors"),
    ):
        code, _, err = run("priors", "check", *arguments)
        assert code == 2
        assert says in err


def test_a_folder_of_diffusers_is_added_and_restores(run, tmp_path):
    from diffusers import DDPMScheduler

    folder_of(tmp_path / "net", DDPMScheduler(), num_class_embeds=5)
    assert run("priors", "add", "five", "--from", "net", "--any-label", 4)[0] == 0
    card = zoo.card("five")
    assert (card.size, card.classes) == (16, 4)
    x = torch.rand(3, 16, 16, dtype=F64) * 2 - 1
    measurement = Measurement(x, "none", 0.2, {})
    towards = restore(
        Recipe("pigdm", steps=2, samples=1, prior="five", label=1, save_memory=True), measurement
    )
    freely = restore(Recipe("pigdm", steps=2, samples=1, prior="five", label=1), measurement)
    torch.testing.assert_close(towards.draws, freely.draws)
