"""Bugs to plant in the domain of motion: see scripts/mutations.py."""

from mutation import Mutation

FILES, PHYSICS = "test_motion.py", "test_motion_physics.py"

MOTION_MUTATIONS = (
    Mutation(
        "motion: the class is not told to the prior",
        "domains/motion/commands.py",
        "recipe = Recipe(method, settings, steps, samples, seed, prior, kind)\n    about",
        "recipe = Recipe(method, settings, steps, samples, seed, prior)\n    about",
        f"{PHYSICS} -k test_motions_are_drawn",
    ),
    Mutation(
        "motion: the noise of the trackers is not told",
        "domains/motion/commands.py",
        "reading = some_points(motion, trackers, noise, seed)",
        "reading = some_points(motion, trackers, 0.01, seed)",
        f"{PHYSICS} -k trackers_and_noise",
    ),
    Mutation(
        "motion: settings are dropped beside --physics",
        "domains/motion/drawing.py",
        '"schedule": schedule, **inner}',
        '"schedule": schedule}',
        f"{PHYSICS} -k test_motions_are_drawn",
    ),
    Mutation(
        "motion: files of the last run stay",
        "domains/motion/drawing.py",
        'whole_folder(out, "motion")',
        "whole_folder(out)",
        f"{PHYSICS} -k test_motions_are_drawn",
    ),
    Mutation(
        "motion: samples.npz in another order than the files",
        "domains/motion/windows.py",
        "key=lambda k: apart[k])",
        "key=lambda k: -apart[k])",
        f"{PHYSICS} -k nearest_to_the_others",
    ),
    Mutation(
        "motion: a completed clip is not put back where it was",
        "domains/motion/reading.py",
        "given, undo, kept)",
        "given, lambda motion: motion, kept)",
        f"{PHYSICS} -k where_it_was",
    ),
    Mutation(
        "motion: known frames start one late",
        "domains/motion/reading.py",
        "known[int(first) : int(stop)] = True",
        "known[int(first) : int(stop) - 1] = True",
        f"{PHYSICS} -k where_it_was",
    ),
    Mutation(
        "motion: frames past the clip's end count as seen",
        "domains/motion/reading.py",
        "noise[~frames_of(len(given))] = torch.inf",
        "noise[~frames_of(len(given))] *= 1",
        f"{PHYSICS} -k trackers_and_noise",
    ),
    Mutation(
        "motion: the offset of the prior is forgotten",
        "domains/motion/domain.py",
        "measurement.y.double() - H(offset)[0]",
        "measurement.y.double() - 0 * H(offset)[0]",
        f"{PHYSICS} -k put_to_the_prior",
    ),
    Mutation(
        "motion: trackers without the root",
        "domains/motion/operators.py",
        "rows[3 * k + axis, axis] = 1",
        "rows[3 * k + axis, axis] = 0",
        f"{PHYSICS} -k trackers_are_where",
    ),
    Mutation(
        "motion: Float counts what exceeds the tolerance",
        "domains/motion/metrics.py",
        "above = torch.where(low > tolerance, low, 0.0)",
        "above = torch.where(low > tolerance, low - tolerance, 0.0)",
        f"{FILES} -k by_hand",
    ),
    Mutation(
        "motion: jerk without the rate",
        "domains/motion/metrics.py",
        "* motion.fps**3",
        "* motion.fps**2",
        f"{FILES} -k jerk",
    ),
    Mutation(
        "motion: Float and float_grounded exchanged",
        "domains/motion/metrics.py",
        '{"floating": "float", "grounded": "float_grounded"}',
        '{"grounded": "float", "floating": "float_grounded"}',
        f"{FILES} -k own_name",
    ),
    Mutation(
        "motion: flights count all rising bodies",
        "domains/motion/metrics.py",
        "(rise + GRAVITY).abs() < FREE",
        "(rise + GRAVITY).abs() < 100 * FREE",
        f"{FILES} -k where_it_flies",
    ),
    Mutation(
        "motion: the vertical force is the sideways one",
        "domains/motion/physics.py",
        "vertical=float(np.abs(wrench[:, 2]).max())",
        "vertical=float(np.abs(wrench[:, 1]).max())",
        f"{PHYSICS} -k says_how",
    ),
    Mutation(
        "motion: forces in the root's axes",
        "domains/motion/simulator.py",
        '"btij,btj->bti", axes',
        '"btji,btj->bti", axes',
        f"{PHYSICS} -k says_how",
    ),
    Mutation(
        "motion: the class of every row is that of the first",
        "domains/motion/prior.py",
        "sigma.to(x).expand(len(x)), label)",
        "sigma.to(x).expand(len(x)), label[:1].expand(len(x)))",
        f"{PHYSICS} -k argument_and_no_state",
    ),
    Mutation(
        "motion: the page has no first row",
        "domains/motion/drawing.py",
        'named.append(("given", given))',
        "pass",
        f"{PHYSICS} -k where_it_was",
    ),
)
