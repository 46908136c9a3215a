"""Computed tomography: pictures of the body out of a sinogram, with error bars."""
