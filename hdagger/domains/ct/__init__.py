"""Computed tomography: slices of a body, from their X-ray projections.

A signal is HU / 1000 on a grid of square pixels, ``(1, rows, columns)``: air is -1, water 0, bone
about 1; the first row is the upper one. Lengths are in mm from the axis that the scanner turns
about, x to the right and y up; angles are in radians, anticlockwise. A ray's line integral is that
of the attenuation mu = mu_water (1 + x) along it; beyond the grid is air.
"""
