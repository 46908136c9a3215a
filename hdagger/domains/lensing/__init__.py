"""Gravitational lenses: the galaxy behind one, from its distorted pictures.

Lengths are in arcsec from the middle of the image, x to the right, y up (the first row of a FITS
image is its lowest). Angles are anticlockwise from +x. A source has surface brightness, which
lenses leave as it is: it is in the units of the image.
"""
