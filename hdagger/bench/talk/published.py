"""What the papers published, as the talk's slides show it: for reference, never as ours.

All of them on ImageNet at 256 x 256, by networks of the papers; none was run here.
"""

from collections.abc import Mapping

DDRM, PIGDM = "https://arxiv.org/abs/2201.11793", "https://openreview.net/forum?id=9_gsMA8MRKQ"

Figures = Mapping[str, Mapping[str, float]]


def _ddrm(rows: Mapping[str, tuple[float, float, float]]) -> Figures:
    names = ("PSNR", "KID x 1000", "calls")
    return {name: dict(zip(names, row, strict=True)) for name, row in rows.items()}


def _pigdm(fid: str, rows: Mapping[str, tuple[float, float]]) -> Figures:
    return {name: {fid: row[0], "read right, %": row[1]} for name, row in rows.items()}


PUBLISHED_FIGURES: Mapping[str, tuple[str, Figures]] = {
    "average4": (
        f"1,000 pictures, {DDRM}; FID and accuracy at 100 calls, {PIGDM}",
        {
            **_ddrm(
                {
                    "DGP": (23.06, 21.22, 1500),
                    "RED": (26.08, 53.55, 100),
                    "SNIPS": (17.58, 35.17, 1000),
                    "DDRM": (26.55, 7.22, 20),
                }
            ),
            **_pigdm(
                "FID",
                {
                    "ADM (cc), trained for it": (3.1, 73.4),
                    "DDRM, 100 calls": (14.8, 64.6),
                    "PiGDM": (3.8, 72.3),
                    "DDRM (cc)": (14.1, 65.2),
                    "PiGDM (cc)": (3.6, 72.2),
                },
            ),
        },
    ),
    "bicubic4": (
        f"at 100 calls, {PIGDM}",
        _pigdm(
            "FID",
            {
                "SR3, trained for it": (5.2, 68.3),
                "ADM (cc), trained for it": (14.8, 66.7),
                "DDRM": (21.3, 63.2),
                "PiGDM": (3.6, 72.1),
                "DDRM (cc)": (19.6, 65.3),
                "PiGDM (cc)": (3.2, 75.1),
            },
        ),
    ),
    "gauss-noisy": (
        f"1,000 pictures, the talk's noisy deblurring, {DDRM}",
        _ddrm(
            {
                "DGP": (21.20, 34.02, 1500),
                "RED": (14.69, 121.82, 500),
                "SNIPS": (16.37, 77.96, 1000),
                "DDRM": (25.45, 15.24, 20),
            }
        ),
    ),
    "centre": (
        f"10,000 pictures, {PIGDM}",
        _pigdm(
            "FID-10k",
            {
                "DeepFillv2, trained for it": (18.0, 64.3),
                "Palette, trained for it": (6.6, 69.3),
                "DDRM": (24.4, 62.1),
                "PiGDM": (7.3, 72.6),
            },
        ),
    ),
    "centre-noisy": (f"10,000 pictures, {PIGDM}", _pigdm("FID-10k", {"PiGDM noisy": (9.5, 72.2)})),
    "freeform": (
        f"10,000 pictures, {PIGDM}",
        _pigdm(
            "FID-10k",
            {
                "DeepFillv2, trained for it": (9.4, 68.8),
                "Palette, trained for it": (5.2, 72.3),
                "DDRM": (8.6, 71.9),
                "PiGDM": (5.3, 75.3),
            },
        ),
    ),
    "freeform-noisy": (
        f"10,000 pictures, {PIGDM}",
        _pigdm("FID-10k", {"PiGDM noisy": (7.3, 74.5)}),
    ),
    **{
        task: (
            f"10,000 pictures, {PIGDM}",
            _pigdm(
                "FID-10k",
                {
                    "Regression, trained for it": regression,
                    "Palette, trained for it": palette,
                    "PiGDM": pigdm,
                },
            ),
        )
        for task, regression, palette, pigdm in (
            ("jpeg5", (29.0, 52.8), (8.3, 64.2), (8.6, 64.1)),
            ("jpeg10", (18.0, 63.5), (5.4, 70.7), (6.0, 71.0)),
            ("jpeg20", (11.5, 69.7), (4.3, 73.5), (4.7, 74.4)),
        )
    },
}
"""Task -> where its figures are from, and the figures by method."""
