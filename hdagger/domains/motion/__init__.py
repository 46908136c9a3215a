"""Human motion: clips, their physics, a prior, and inverse problems on them.

A clip is generalised coordinates of a humanoid (:mod:`.skeleton`, :mod:`.clips`). Metres,
seconds, radians; x is forward, y to the left, z up, and the ground is z = 0.
"""
