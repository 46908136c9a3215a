"""What a page shows, out of its text."""

import base64
import html
import io
import re

import numpy as np
from PIL import Image

from hdagger.domain import write_report


def images_in(page):
    """Caption -> the pictures under it, in their order."""
    found = {}
    for code, alt in re.findall(r"data:image/png;base64,([^']+)' alt='([^']*)'", page):
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))
        found.setdefault(html.unescape(alt), []).append(image)
    return found


def is_made_again(folder):
    """Whether the report that a restoration left comes out again, byte for byte."""
    report = folder / "report.html"
    before = report.read_bytes()
    report.unlink()
    assert write_report(folder) == report
    return report.read_bytes() == before
