"""Magnetic resonance imaging: pictures of the body out of k-space, with error bars."""
