"""Magnetic resonance imaging: pictures from too little k-space, with error bars.

An image is complex, a signal ``(2, rows, columns)``: its real and its imaginary part. Rows are the
readout, columns the phase encoding, as fastMRI has them. k-space has its middle in the middle;
frequencies are in cycles per pixel. The noise is that of the real and of the imaginary part each.
"""
