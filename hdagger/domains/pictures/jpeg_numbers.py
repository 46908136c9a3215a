"""A program: the quantised numbers in a .jpg file, component after component, as 16-bit bytes.

    python -P jpeg_numbers.py FILE > numbers

It imports nothing of hdagger, so that it starts fast.
"""

import sys


def main(path: str) -> None:
    import jpeglib

    file = jpeglib.read_dct(path)
    for part in (file.Y, file.Cb, file.Cr):
        if part is not None:
            sys.stdout.buffer.write(part.astype("int16").tobytes())


if __name__ == "__main__":
    main(sys.argv[1])
