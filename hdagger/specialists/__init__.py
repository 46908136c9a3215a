"""Networks trained to restore pictures in one manner, to hold generic priors against.

Two know one task: :mod:`~hdagger.specialists.conditional` draws from p(x0 | y),
:mod:`~hdagger.specialists.regression` tells its mean. Two know pictures and no task:
:mod:`~hdagger.specialists.gan` and :mod:`~hdagger.specialists.vae` look for what fits the data
among what they can make. ``hdagger train`` makes their files from ``training/specialists``.
"""
