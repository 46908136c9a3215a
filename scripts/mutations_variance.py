"""Bugs to plant in the variances that networks learned: see scripts/mutations.py."""

from mutation import Mutation

CLOSED_FORM = "test_learned_variance.py -k best_network"

VARIANCE_MUTATIONS = (
    Mutation(
        "learned range: the step's variance taken for that of x0",
        "priors/conventions.py",
        "torch.expm1(f * log_R) + m",
        "(f * log_R).exp()",
        CLOSED_FORM,
    ),
    Mutation(
        "learned range: t = 0 taken for a step like others",
        "priors/conventions.py",
        "at_end[0] = 1",
        "at_end[0] = 0",
        CLOSED_FORM,
    ),
    Mutation(
        "learned range: a place from 0 to 1",
        "priors/conventions.py",
        "f = ((out + 1) / 2)",
        "f = out",
        CLOSED_FORM,
    ),
    Mutation(
        "learned range: log beta~ and log beta the other way round",
        "priors/conventions.py",
        "f = ((out + 1) / 2)",
        "f = ((1 - out) / 2)",
        CLOSED_FORM,
    ),
    Mutation(
        "learned range: the level below is left out of R",
        "priors/conventions.py",
        "(apart / (s2 * (1 + sigma2))).log1p()",
        "(apart / s2).log1p()",
        CLOSED_FORM,
    ),
    Mutation(
        "learned range: the timestep below for all between",
        "priors/conventions.py",
        "steps[:, before + 1], t - before)",
        "steps[:, before + 1], 0 * t)",
        "test_learned_variance.py -k between_two_timesteps",
    ),
    Mutation(
        "learned range: no bounds",
        "priors/conventions.py",
        ".clamp(LEAST_SHARE, 1)",
        "",
        "test_learned_variance.py -k whatever_is_said",
    ),
    Mutation(
        "learned range: the mean's channels",
        "priors/huggingface.py",
        "out[:, x.shape[1] :]",
        "out[:, : x.shape[1]]",
        "test_adm.py -k behind_the_wall",
    ),
    Mutation(
        "learned range: any variance that a scheduler names",
        "priors/huggingface.py",
        'table.get("variance_type") == "learned_range"',
        'table.get("variance_type") is not None',
        "test_learned_variance.py -k scheduler_says",
    ),
    Mutation(
        "ADM: its variance is forgotten",
        "priors/adm.py",
        "learned = plan.out_channels == 2 * plan.channels",
        "learned = False",
        "test_adm.py -k behind_the_wall",
    ),
    Mutation(
        "ADM: a variance of a network that has none",
        "priors/huggingface.py",
        "return convention.variance if twice else None",
        "return convention.variance",
        "test_learned_variance.py -k without_room",
    ),
    Mutation(
        "classes: the variance of any class",
        "priors/classes.py",
        "return moments(self.prior, x, sigma, _for_rows(self.label, x))",
        "return moments(self.prior, x, sigma)",
        "test_learned_variance.py -k towards_a_label",
    ),
    Mutation(
        "classes: a guided mean with a variance",
        "priors/classes.py",
        "if self.guidance != 1:\n            return self(x, sigma), None",
        "if False:\n            return self(x, sigma), None",
        "test_learned_variance.py -k towards_a_label",
    ),
)
