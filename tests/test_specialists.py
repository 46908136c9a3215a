"""Specialists: on Gaussian signals, whose posterior is known, and on tiny real trainings."""

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import softplus

from hdagger.bench.talk.contenders import Contender, loaded, specialists_in
from hdagger.domains.pictures.words import operator_for_signal
from hdagger.errors import FileError, SettingError, ShapeError
from hdagger.measurement import Measurement
from hdagger.priors.unet import UNetDenoiser, UNetShape
from hdagger.problem import Problem
from hdagger.specialists.base import FILE, in_frame
from hdagger.specialists.conditional import Conditional
from hdagger.specialists.gan import GAN, Progressive, by_features
from hdagger.specialists.generator import Generator, Summary, misfit
from hdagger.specialists.regression import Regression
from hdagger.specialists.training import SpecialistPlan, SpecialistTraining, training_of
from hdagger.specialists.vae import VAE, most_probable
from hdagger.tensors import SampleNoise

SHAPE = UNetShape(channels=1, widths=(8, 16), embedding=8, heads=2, down=1, up=1, side=8)
KINDS = (Conditional, Regression, GAN, VAE)
SIDE, N = 8, 64
NOISE = 0.2


def covariance():
    """Of smooth 8 x 8 signals with a standard deviation of 0.6."""
    place = torch.cartesian_prod(*(torch.arange(SIDE, dtype=torch.float64),) * 2)
    return 0.36 * torch.exp(-torch.cdist(place, place) / 3)


def matrix(H):
    return H(torch.eye(N, dtype=torch.float64).view(N, 1, SIDE, SIDE)).flatten(1).T


@dataclass(frozen=True)
class GaussianCase:
    """Signals N(0, C), their block averages with noise, and what is known of them."""

    C = covariance()
    H = operator_for_signal("average:2", (1, SIDE, SIDE), {})
    A = matrix(H)

    def draw(self, count, generator):
        z = torch.randn(count, N, generator=generator, dtype=torch.float64)
        x0 = (z @ torch.linalg.cholesky(self.C).T).view(-1, 1, SIDE, SIDE)
        y = self.H(x0)
        noise = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        return x0, Problem(y + NOISE * noise, self.H, NOISE)

    def posterior(self, y, x=None, sigma=None):
        """Mean and covariance of x0 given y and, if it is given, x = x0 + sigma n."""
        precision = self.C.inverse() + self.A.T @ self.A / NOISE**2
        pull = y.flatten(1) @ self.A / NOISE**2
        if x is not None:
            precision = precision + torch.eye(N) / sigma**2
            pull = pull + x.flatten(1) / sigma**2
        spread = precision.inverse()
        return (pull @ spread).view(-1, 1, SIDE, SIDE), spread


GAUSSIAN = GaussianCase()


def trained(network, updates=160):
    """A network taught Gaussian signals by plain Adam."""
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.reset_parameters()
    generator = torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(network.parameters(), 4e-3)
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.02, updates)
    for _ in range(updates):
        x0, problem = GAUSSIAN.draw(64, generator)
        sigma = (torch.randn(64, generator=generator) * 0.7 - 0.7).exp()
        adam.zero_grad()
        network.taught(x0.float(), in_frame(problem).float(), sigma, generator).backward()
        adam.step()
        falling.step()
    return network.eval().requires_grad_(False)


SMALL = UNetShape(channels=1, widths=(24,), embedding=16, heads=2, down=1, up=1, sigma_data=0.6)


def excess(told, mean, spread):
    """How much larger the squared error is than the best one, as a share of it."""
    return float((told - mean).square().sum(dim=(1, 2, 3)).mean() / spread.trace())


def test_the_conditional_denoiser_learns_the_mean_given_both(generator):
    network = trained(Conditional(SMALL))
    x0, problem = GAUSSIAN.draw(200, torch.Generator().manual_seed(9))
    given = in_frame(problem)
    for sigma in (0.3, 1.0):
        x = x0 + sigma * torch.randn(x0.shape, generator=generator, dtype=torch.float64)
        mean, spread = GAUSSIAN.posterior(problem.y, x, sigma)
        told = partial(network, x, torch.tensor(sigma))
        assert excess(told(given=given), mean, spread) < 0.08
        assert excess(told(given=given.flip(0)), mean, spread) > 0.3


def test_regression_learns_the_mean_given_the_data():
    network = trained(Regression(SMALL))
    _, problem = GAUSSIAN.draw(200, torch.Generator().manual_seed(9))
    told, calls = network.restored(problem, torch.zeros)
    assert excess(told, *GAUSSIAN.posterior(problem.y)) < 0.08
    assert calls == 1


def test_regression_is_taught_what_it_tells(generator):
    network = Regression(SMALL)
    nn.init.normal_(network.net.head.weight, std=0.1, generator=generator)
    x0, problem = GAUSSIAN.draw(16, generator)
    given = in_frame(problem).float()
    loss = network.taught(x0.float(), given, torch.ones(16), generator)
    told, _ = network.restored(problem, torch.zeros)
    error = (told - x0).square().mean()
    assert loss.item() == pytest.approx(float(error) / (0.6**2 / 2), rel=1e-4)


class Exact(Conditional):
    """The conditional denoiser that training would end at."""

    def forward(self, x, sigma, label=None, given=None):
        sharpen = torch.linalg.inv(GAUSSIAN.A @ GAUSSIAN.A.T + NOISE**2 * torch.eye(N // 4))
        y = given.flatten(1) @ torch.linalg.pinv((GAUSSIAN.A.T @ sharpen).T)
        return GAUSSIAN.posterior(y, x, float(sigma))[0]


def test_the_walk_draws_from_the_posterior():
    """The walk is linear in its noise: zeros give the mean, unit vectors the covariance. It starts
    at a level of 20, which leaves 2 % of the mean, and takes 20 steps, which leave 4 % too much.
    """
    network = Exact(SMALL)
    _, problem = GAUSSIAN.draw(1, torch.Generator().manual_seed(2))
    mean, spread = GAUSSIAN.posterior(problem.y)
    told, calls = network.restored(problem, lambda shape: torch.zeros(shape).double())
    assert calls == 20
    assert (told - mean).abs().max() < 0.03
    unit = lambda shape: torch.eye(N).double().view(shape)
    columns = (network.restored(problem.rows(N), unit)[0] - told).flatten(1)
    assert float((columns.T @ columns - spread).norm() / spread.norm()) < 0.05


def test_a_network_sees_the_mean_of_white_signals(generator):
    x0 = torch.randn(3, 1, SIDE, SIDE, generator=generator, dtype=torch.float64)
    for text, noise in (("gauss:1,mirror", 0.1), ("gauss:1,mirror | average:2", 0.3)):
        H = operator_for_signal(text, (1, SIDE, SIDE), {})
        A, y = matrix(H), H(x0)
        white = A.T @ torch.linalg.inv(A @ A.T + noise**2 * torch.eye(len(A)))
        seen = in_frame(Problem(y, H, noise)).flatten(1)
        assert torch.allclose(seen, y.flatten(1) @ white.T, atol=2e-3)
    enlarged = in_frame(Problem(GAUSSIAN.H(x0), GAUSSIAN.H))
    assert torch.allclose(GAUSSIAN.H(enlarged), GAUSSIAN.H(x0))
    assert torch.allclose(enlarged[..., ::2, ::2], enlarged[..., 1::2, 1::2])


def test_each_row_of_data_has_its_own_answer(generator):
    network = Exact(SMALL)
    _, problem = GAUSSIAN.draw(3, torch.Generator().manual_seed(2))
    zeros = lambda shape: torch.zeros(shape).double()
    told, _ = network.restored(problem, zeros)
    one, _ = network.restored(Problem(problem.y[2:], problem.H, NOISE), zeros)
    assert torch.allclose(told[2], one[0])


class Linear(nn.Module):
    """A generator whose pictures are B z + b."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layer = nn.Linear(6, N).double()

    def forward(self, z):
        return self.layer(z.to(self.layer.weight)).view(-1, 1, SIDE, SIDE)


def linear_case(generator):
    G = Linear().requires_grad_(False)
    _, problem = GAUSSIAN.draw(3, generator)
    B = GAUSSIAN.A @ G.layer.weight
    off = problem.y.flatten(1) - GAUSSIAN.A @ G.layer.bias
    return G, problem, B, off


def test_the_search_ends_at_the_nearest_picture(generator):
    G, problem, B, off = linear_case(generator)
    codes = torch.randn(3, 5, 6, generator=generator).double()
    search = Progressive(code_steps=800, weight_steps=0, code_rate=0.1)
    found, calls = search.search(G, [("layer.",)], codes, partial(misfit, problem))
    nearest = off @ torch.linalg.pinv(B).T
    assert torch.allclose(found, G(nearest), atol=1e-3)
    assert calls == 805


def test_weights_that_move_meet_the_data_and_stay_a_picture_s_own(generator):
    G, problem, _, _ = linear_case(generator)
    before = G.layer.weight.clone()
    codes = torch.randn(3, 5, 6, generator=generator).double()
    search = Progressive(code_steps=50, weight_steps=300, weight_rate=0.01)
    found, calls = search.search(G, [("layer.",)], codes, partial(misfit, problem))
    assert calls == 355
    assert problem.residual(found).abs().max() < 0.01
    assert torch.equal(G.layer.weight, before)
    row = Problem(problem.y[1:2], problem.H, NOISE)
    alone, _ = search.search(G, [("layer.",)], codes[1:2], partial(misfit, row))
    assert torch.allclose(alone[0], found[1], atol=1e-6)


def test_the_search_begins_at_the_nearest_of_its_candidates(generator):
    G, problem, _, _ = linear_case(generator)
    codes = torch.randn(3, 5, 6, generator=generator).double()
    found, _ = Progressive(code_steps=1, weight_steps=0, code_rate=0.0).search(
        G, [], codes, partial(misfit, problem)
    )
    made = torch.stack([G(z) for z in codes])
    off = torch.stack([problem.residual(made[:, k]).square().sum((1, 2, 3)) for k in range(5)])
    assert torch.allclose(found, made[torch.arange(3), off.argmin(0)])


def test_dgp_holds_features_of_what_the_data_show_against_each_other(generator):
    critic = Summary(SHAPE, 1).double()
    draw = lambda: torch.rand(2, 1, SIDE, SIDE, generator=generator).double() * 2 - 1
    truth, x, H = draw(), draw(), GAUSSIAN.H
    distance = by_features(critic, Problem(H(truth), H))
    enlarged = lambda z: H(z).repeat_interleave(2, 2).repeat_interleave(2, 3)
    found, wanted = critic.features(enlarged(x)), critic.features(enlarged(truth))
    assert [tuple(f.shape[1:]) for f in found] == [(8, 4, 4), (16, 2, 2)]
    apart = sum((f - g).abs().mean(dim=(1, 2, 3)) for f, g in zip(found, wanted, strict=True))
    torch.testing.assert_close(distance(x), apart)
    assert (apart > 0.01).all()
    assert distance(truth + x - enlarged(x)).max() < 1e-9


def test_dgp_moves_a_picture_towards_what_a_jpeg_decodes_to(generator):
    critic = Summary(SHAPE, 1).double()
    x = torch.rand(2, 1, SIDE, SIDE, generator=generator).double().requires_grad_()
    jpeg = operator_for_signal("jpeg:10", (1, SIDE, SIDE), {})
    problem = Problem(jpeg(-x.detach()), jpeg)
    distance = by_features(critic, problem)
    assert distance(in_frame(problem)).max() < 1e-9
    (slope,) = torch.autograd.grad(distance(x).sum(), x)
    assert slope.abs().sum() > 0


def test_stages_set_weights_free_from_the_lowest_level_up():
    """Every weight has its stage, the picture's own layer the last."""
    G = Generator(SHAPE)
    stages = G.blocks()
    names = [name for name, _ in G.named_parameters()]
    assert len(stages) == 2
    assert all(sum(name.startswith(stage) for stage in stages) == 1 for name in names)
    assert "head.weight".startswith(stages[-1])
    assert "start.weight".startswith(stages[0])
    assert len(Generator(UNetShape(widths=(4,), side=8, embedding=8)).blocks()) == 1


def test_the_most_probable_code_is_the_ridge(generator):
    G, problem, B, off = linear_case(generator)
    start = torch.randn(3, 6, generator=generator).double()
    found = most_probable(G, 0.05, start, problem)
    noise = NOISE**2 + 0.05
    ridge = torch.linalg.inv(B.T @ B / noise + torch.eye(6)) @ B.T / noise
    assert torch.allclose(found, G(off @ ridge.T), atol=1e-3)


def test_critic_and_generator_teach_themselves_alone(generator):
    network = GAN(SHAPE)
    x0 = torch.rand(4, 1, SIDE, SIDE, generator=generator) * 2 - 1
    chance = lambda: torch.Generator().manual_seed(5)
    network.taught(x0, x0, torch.ones(4), chance()).backward()
    makes, judges = network.net.generator, network.net.critic
    of_made = [weight.grad.clone() for weight in makes.parameters()]
    of_critic = {name: weight.grad.clone() for name, weight in judges.named_parameters()}
    z = torch.randn(4, 8, generator=chance())
    wanted = torch.autograd.grad(softplus(-judges(makes(z))).mean(), list(makes.parameters()))
    for found, right in zip(of_made, wanted, strict=True):
        assert torch.allclose(found, right, atol=1e-6)
    real = x0.clone().requires_grad_()
    verdict = judges(real)
    (slope,) = torch.autograd.grad(verdict.sum(), real, create_graph=True)
    loss = softplus(-verdict).mean() + softplus(judges(makes(z).detach())).mean()
    loss = loss + GAN.penalty * slope.square().sum() / 4 / 2
    used = {n: w for n, w in judges.named_parameters() if n != "told.bias"}
    for name, right in zip(used, torch.autograd.grad(loss, list(used.values())), strict=True):
        assert torch.allclose(of_critic[name], right, atol=1e-5)


def test_the_bound_is_that_of_its_parts(generator):
    network = VAE(SHAPE)
    x0 = torch.rand(4, 1, SIDE, SIDE, generator=generator) * 2 - 1
    nn.init.constant_(network.net.log_variance, -1.0)
    loss = network.taught(x0, x0, torch.ones(4), torch.Generator().manual_seed(5))
    mean, log_spread = network.net.encoder(x0).chunk(2, dim=1)
    z = mean + (log_spread / 2).exp() * torch.randn(
        4, 8, generator=torch.Generator().manual_seed(5)
    )
    normal = torch.distributions.Normal
    code = normal(mean, (log_spread / 2).exp())
    bound = normal(network.net.generator(z), torch.tensor(-0.5).exp()).log_prob(x0).sum()
    bound = bound - torch.distributions.kl_divergence(code, normal(0.0, 1.0)).sum()
    constant = 0.5 * torch.tensor(2 * torch.pi).log()
    assert loss.item() == pytest.approx((-bound / (4 * N) - constant).item(), rel=1e-5)


@dataclass(frozen=True)
class Case:
    measurement: Measurement
    item: int = 0


def case(item=0, side=SIDE):
    H = operator_for_signal("average:2", (1, side, side), {})
    y = H(torch.linspace(-1, 1, side * side).double().view(1, 1, side, side))[0]
    return Case(Measurement(y, "average:2", 0.1, signal_shape=(1, side, side)), item)


@pytest.fixture
def quick_search(monkeypatch):
    quick = Progressive(candidates=3, code_steps=4, weight_steps=3)
    monkeypatch.setattr("hdagger.specialists.gan.PROGRESSIVE", quick)
    monkeypatch.setattr("hdagger.specialists.vae.STEPS", 5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_again_and_answers_alike(kind, tmp_path, quick_search):
    torch.manual_seed(1)
    network = kind(SHAPE).requires_grad_(False)
    network.notes = {"task": "average:2", "updates": 7, "batch": 4, "seconds": 90.0}
    network.save(tmp_path / FILE)
    read = kind.load(tmp_path / FILE)
    assert read.notes == network.notes
    assert read.shape == network.shape
    assert "average:2" in read.name
    assert read.cost == "7 updates of 4 pictures, 1.5 min"
    assert len(read.made_of["weights_sha256"]) == 64
    drawn = read.restore(case(), 2, seed=0)
    assert drawn.draws.shape == (1 if kind.one_answer else 2, 1, SIDE, SIDE)
    assert drawn.draws.dtype == torch.float32
    assert (
        drawn.provenance["nfe"]
        == {"conditional": 20, "regression": 1, "gan": 13, "vae": 5}[kind.kind]
    )
    assert torch.equal(drawn.draws, read.restore(case(), 2, seed=0).draws)
    if not kind.one_answer:
        assert not torch.equal(drawn.draws[0], drawn.draws[1])
        assert not torch.equal(drawn.draws, read.restore(case(item=1), 2, seed=0).draws)
    assert specialists_in(tmp_path) == (str(tmp_path / FILE),)
    contender = loaded(tmp_path / FILE)
    assert isinstance(contender, Contender)
    assert contender.made_of == read.made_of
    with pytest.raises(FileError, match="it holds a"):
        UNetDenoiser.load(tmp_path / FILE)


def test_nothing_of_a_file_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    torch.save({"net": Trap()}, tmp_path / FILE)
    for kind in KINDS:
        with pytest.raises(FileError):
            kind.load(tmp_path / FILE)
    assert not (tmp_path / "run").exists()


def test_another_size_is_refused(quick_search):
    with pytest.raises(ShapeError, match="Train another"):
        VAE(SHAPE).restore(case(side=16), 1, seed=0)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures" / "0"
    folder.mkdir(parents=True)
    for number in range(3):
        values = torch.rand(9, 9, generator=torch.Generator().manual_seed(number)) * 255
        Image.fromarray(values.byte().numpy()).save(folder / f"{number}.png")
    return folder.parent


def plan(pictures, **settings):
    settings = {"batch": 4, "crops": (SIDE,), "unet": SHAPE, "updates": 6} | settings
    return SpecialistPlan(photographs=pictures, **settings)


class Stop(Exception):
    pass


@pytest.mark.parametrize("kind", [kind.kind for kind in KINDS])
def test_a_resumed_training_is_an_unbroken_one(kind, pictures, tmp_path, quick_search):
    asked = plan(pictures, network=kind, task="average:2", sigma_y=0.1)

    def stop(progress):
        if progress.step == 3:
            raise Stop

    whole = SpecialistTraining(asked, tmp_path / "whole", "cpu")
    whole.run(lambda progress: None)
    with pytest.raises(Stop):
        SpecialistTraining(asked, tmp_path / "broken", "cpu").run(stop, report_every=0)
    again = SpecialistTraining(asked, tmp_path / "broken", "cpu")
    assert again.step == 3
    assert 0 < again.left < 60
    again.run(lambda progress: None)
    assert whole.step == again.step == 6
    for ours, theirs in zip(whole.ema.parameters(), again.ema.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert (tmp_path / "broken/samples.png").exists()
    read = SpecialistPlan.networks[kind].load(tmp_path / "broken" / FILE)
    assert read.notes["updates"] == 6
    assert read.notes["sigma_y"] == 0.1


def test_the_data_of_a_training_have_their_noise_and_holes(pictures, tmp_path):
    mask = torch.zeros(SIDE, SIDE)
    mask[2:6, 2:6] = 255
    Image.fromarray(mask.byte().numpy()).save(tmp_path / "mask.png")
    asked = plan(pictures, task="mask", mask=tmp_path / "mask.png", sigma_y=0.3)
    training = SpecialistTraining(asked, tmp_path, "cpu")
    x0 = torch.zeros(400, 1, SIDE, SIDE)
    problem = training.measured(x0, torch.Generator().manual_seed(0))
    assert float(problem.y[..., 0, :].std()) == pytest.approx(0.3, rel=0.05)
    seen = in_frame(problem)
    assert (seen[..., 2:6, 2:6] == 0).all()
    assert float(seen[..., 0, :].std()) == pytest.approx(0.3 / (1 + 0.09), rel=0.05)


@pytest.mark.parametrize("task", ["average:2", "jpeg:10"])
def test_data_are_exact_where_a_training_has_half_precision(task, pictures, tmp_path, monkeypatch):
    asked = plan(pictures, network="regression", task=task, bfloat16=True)
    training = SpecialistTraining(asked, tmp_path, "cpu")
    training.prepare()
    shown, taught = [], type(training.denoiser).taught
    monkeypatch.setattr(
        type(training.denoiser), "taught", lambda *args: shown.append(args) or taught(*args)
    )
    training.loss()
    ((_, x0, given, _, _),) = shown
    right = in_frame(training.measured(x0, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(given, right, atol=1e-5, rtol=0)


def test_a_plan_with_a_task_trains_a_specialist(pictures, tmp_path, run):
    text = """
network = "regression"
task = "average:2"
photographs = "pictures"
updates = 2
batch = 2
crops = [8]
[unet]
channels = 1
widths = [4, 8]
embedding = 8
heads = 2
"""
    (tmp_path / "plan.toml").write_text(text)
    assert isinstance(training_of(tmp_path / "plan.toml", tmp_path / "out"), SpecialistTraining)
    code, out, _ = run("train", tmp_path / "plan.toml", "-o", tmp_path / "out")
    assert code == 0
    assert FILE in "".join(out.split())
    assert Regression.load(tmp_path / "out" / FILE).notes["task"] == "average:2"


def test_what_does_not_fit_is_refused(pictures, tmp_path):
    with pytest.raises(FileError, match="Make some with hdagger train"):
        specialists_in(tmp_path)
    with pytest.raises(SettingError, match="crops of one size"):
        plan(pictures, crops=(8, 16))
    with pytest.raises(SettingError, match="Wanted a network, conditional or"):
        plan(pictures, network="denoiser")
    with pytest.raises(SettingError, match="no noise beside data that are rounded"):
        SpecialistTraining(plan(pictures, task="bits:3", sigma_y=0.1), tmp_path, "cpu")
    with pytest.raises(SettingError, match="a side that is a multiple of 4"):
        GAN(UNetShape(widths=(8, 16), side=10))


def test_seeds_of_the_search_are_the_samples_own(quick_search):
    network = VAE(SHAPE)
    problem = Problem(torch.zeros(2, 1, 4, 4).double(), GAUSSIAN.H)
    both, _ = network.restored(problem, SampleNoise(0, [(0, 0), (0, 1)]))
    alone, _ = network.restored(problem.rows(2), SampleNoise(0, [(0, 1), (0, 0)]))
    assert torch.allclose(both, alone.flip(0), atol=1e-5)
