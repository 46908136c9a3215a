"""Bugs to plant between a restoration and the person, one each way: see scripts/mutations.py."""

from mutation import Mutation

FACE_MUTATIONS = (
    Mutation(
        "restore: the factor told for the reach",
        "restoration.py",
        "None if self.interval is None else self.interval.reach",
        "None if self.interval is None else self.interval.factor",
        "test_check.py -k promise",
    ),
    Mutation(
        "restore: which covariances a verdict was found with, left out",
        "restoration.py",
        'uncertainty.sha256 if isinstance(method, Drawn) else ""',
        '""',
        "test_pipeline.py -k covariances_they_were",
    ),
    Mutation(
        "report: twice the noise is what that noise would leave",
        "report.py",
        "if chi2 > 1.25:",
        "if chi2 > 2.5:",
        "test_report.py -k residual",
    ),
    Mutation(
        "report: the heat map's top is its middle",
        "report.py",
        "int(0.995 * len(flat))",
        "int(0.5 * len(flat))",
        "test_report.py -k 'heat or spread or leaves or scale'",
    ),
    Mutation(
        "verdicts: ten times the noise is near",
        "verdicts.py",
        "\nAPART = 1.5",
        "\nAPART = 15.0",
        "test_verdicts.py",
    ),
    Mutation(
        "verdicts: the domain ignored",
        "verdicts.py",
        "alike = replace(other, sigma_y=self.sigma_y)",
        "alike = replace(other, sigma_y=self.sigma_y, domain=self.domain)",
        "test_verdicts.py",
    ),
    Mutation(
        "verdicts: the label ignored",
        "verdicts.py",
        "alike = replace(other, sigma_y=self.sigma_y)",
        "alike = replace(other, sigma_y=self.sigma_y, label=self.label)",
        "test_verdicts.py",
    ),
    Mutation(
        "cells: a coefficient as unsure as a pixel",
        "samplers/cells.py",
        "WIDTH2**0.5 * step.sigma * H.gain",
        "WIDTH2**0.5 * step.sigma",
        "test_jpeg.py -k 'twice_the_noise or cells'",
    ),
    Mutation(
        "samples: saved in half precision",
        "samples.py",
        "name: value.float().numpy()",
        "name: value.half().float().numpy()",
        "test_restoration.py -k survive",
    ),
    Mutation(
        "samples: as much known of fewer",
        "samples.py",
        "if any(len(value) != len(draws) for value in known.values()):",
        "if False:",
        "test_pipeline.py -k what_is_known",
    ),
    Mutation(
        "domain: the imaginary noise is the real one",
        "domain.py",
        "torch.complex(noise, draw(tuple(clean.shape)))",
        "torch.complex(noise, noise)",
        "test_pipeline.py -k imaginary",
    ),
    Mutation(
        "domain: mirrored pictures, their angles not",
        "domains/pictures/turn.py",
        "-degrees if len(self._flips) == 1 else degrees",
        "degrees",
        "test_jpeg.py -k angle",
    ),
    Mutation(
        "domain: a mask's gray is missing from light gray on",
        "domains/pictures/masks.py",
        "    return light > 0\n",
        "    return light > 0.5\n",
        "test_files.py -k mask",
    ),
    Mutation(
        "degrade: the seed ignored",
        "domains/pictures/commands.py",
        "arrays, noise, seed)",
        "arrays, noise)",
        "test_command_line.py -k damages_again",
    ),
    Mutation(
        "restore: settings of another method kept",
        "domains/pictures/commands.py",
        '{} if said["method"] not in (None, plan.method) else dict(plan.settings)',
        "dict(plan.settings)",
        "test_command_line.py -k beside_a_recipe",
    ),
    Mutation(
        "restore: a recipe's damage before what was said",
        "domains/pictures/commands.py",
        "damages = damages.or_else(",
        "damages = Damages().or_else(",
        "test_command_line.py -k beside_a_recipe",
    ),
    Mutation(
        "restore: the command that checks a kernel lacks its file",
        "domains/pictures/domain.py",
        'stage.name == "kernel"',
        'stage.name == ""',
        "test_pipeline.py -k asks_for_its",
    ),
    Mutation(
        "restore: a mask that is not there takes two seconds to say",
        "domains/pictures/commands.py",
        """        check_file(mask, "a mask")
    damages = Damages(mask, upscale, kernel, blur, colorize, denoise, sigma_y, operator)
    plan""",
        """        pass
    damages = Damages(mask, upscale, kernel, blur, colorize, denoise, sigma_y, operator)
    plan""",
        "test_command_line.py -k nothing_heavy",
    ),
    Mutation(
        "restore: a wrong prior takes two seconds to say",
        "domains/pictures/commands.py",
        "    check_prior(plan.prior)\n",
        "",
        "test_command_line.py -k nothing_heavy",
    ),
    Mutation(
        "restore: a prior's file that is not there takes two seconds to say",
        "options.py",
        """        check_file(Path(name), "a prior")
""",
        "        pass\n",
        "test_command_line.py -k nothing_heavy",
    ),
    Mutation(
        "restore: a wrong word takes two seconds to say",
        "domains/pictures/options.py",
        "        parse(self.text, (*WORDS, *added_words()))\n",
        "",
        "test_command_line.py -k nothing_heavy",
    ),
    Mutation(
        "streams: a measurement by a pipe is a picture",
        "streams.py",
        'b"PK": ".npz", ',
        "",
        "test_manners.py -k pipe",
    ),
)
