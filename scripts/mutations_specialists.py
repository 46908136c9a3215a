"""Bugs to plant in the specialists and their training: see scripts/mutations.py."""

from mutation import Mutation

TESTS = "test_specialists.py"

SPECIALIST_MUTATIONS = (
    Mutation(
        "specialists: the network is not shown the data",
        "priors/unet.py",
        "torch.cat([inner, given / self.shape.sigma_data], dim=1)",
        "torch.cat([inner, 0 * given], dim=1)",
        f"{TESTS} -k conditional_denoiser_learns",
    ),
    Mutation(
        "specialists: the data of another sample",
        "specialists/conditional.py",
        "partial(self, given=in_frame(problem))",
        "partial(self, given=in_frame(problem).flip(0))",
        f"{TESTS} -k own_answer",
    ),
    Mutation(
        "specialists: the walk stops at noise",
        "specialists/conditional.py",
        "karras_levels(20, low=0.02, high=20.0)",
        "karras_levels(20, low=0.02, high=20.0)[:-1]",
        f"{TESTS} -k 'walk_draws or read_again'",
    ),
    Mutation(
        "specialists: regression is asked at another level than it was taught",
        "specialists/regression.py",
        "return self(in_frame(problem), torch.tensor(self.shape.sigma_data)), 1",
        "return self(in_frame(problem), torch.tensor(1.0)), 1",
        f"{TESTS} -k taught_what",
    ),
    Mutation(
        "specialists: the noise of the data is not looked at",
        "specialists/base.py",
        "problem.towards_data(white, 1.0)",
        "problem.towards_data(white, 1e6)",
        f"{TESTS} -k white_signals",
    ),
    Mutation(
        "specialists: a training's data have no noise",
        "specialists/training.py",
        "y + self.task.sigma_y * noise",
        "y",
        f"{TESTS} -k noise_and_holes",
    ),
    Mutation(
        "gan: the generator teaches the critic",
        "specialists/gan.py",
        "name: weight.detach() for name, weight in _weights(critic)",
        "name: weight for name, weight in _weights(critic)",
        f"{TESTS} -k teach_themselves",
    ),
    Mutation(
        "gan: the critic teaches the generator",
        "specialists/gan.py",
        "critic(made.detach())",
        "critic(made)",
        f"{TESTS} -k teach_themselves",
    ),
    Mutation(
        "gan: pictures share their weights",
        "specialists/gan.py",
        "w.detach().expand(len(code), *w.shape).clone()",
        "w.detach().expand(len(code), *w.shape)",
        f"{TESTS} -k picture_s_own",
    ),
    Mutation(
        "gan: the search begins at the farthest code",
        "specialists/gan.py",
        "tried.argmin(dim=0)",
        "tried.argmax(dim=0)",
        f"{TESTS} -k begins_at_the",
    ),
    Mutation(
        "gan: a level's weights never move",
        "specialists/generator.py",
        "for d in reversed(range(deep))]",
        "for d in reversed(range(1, deep))]",
        f"{TESTS} -k set_weights_free",
    ),
    Mutation(
        "vae: the code is any",
        "specialists/vae.py",
        "(2 * noise) + code.square().sum(dim=1) / 2",
        "(2 * noise)",
        f"{TESTS} -k ridge",
    ),
    Mutation(
        "vae: the decoder makes no error",
        "specialists/vae.py",
        "problem.sigma_y**2 + variance",
        "problem.sigma_y**2",
        f"{TESTS} -k ridge",
    ),
    Mutation(
        "vae: the divergence counts for each pixel",
        "specialists/vae.py",
        "likelihood + divergence / x0[0].numel()",
        "likelihood + divergence",
        f"{TESTS} -k bound",
    ),
    Mutation(
        "specialists: samples share their noise",
        "specialists/base.py",
        "[(case.item, k) for k in range(count)]",
        "[(case.item, 0) for k in range(count)]",
        f"{TESTS} -k read_again",
    ),
    Mutation(
        "course: the updates of before are done again",
        "course.py",
        'self.step, self.seconds = state["step"], state["seconds"]',
        'self.seconds = state["seconds"]',
        f"{TESTS} -k unbroken",
    ),
    Mutation(
        "course: the optimiser forgets",
        "course.py",
        '            "adam": self.adam,\n',
        "",
        f"{TESTS} -k unbroken",
    ),
)
