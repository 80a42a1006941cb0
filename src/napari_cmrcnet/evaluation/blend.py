"""Two or three genes on one map: each prints its ink, so that white is low in all and dark is high in all."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from napari_cmrcnet.evaluation.colour_limits import Limits

Float32 = npt.NDArray[np.float32]

INKS = {2: ("green", "magenta"), 3: ("cyan", "magenta", "yellow")}
"""By the number of genes. The two are told apart without red or green cones, too; the three are a printer's."""
RGB = {"green": (0.0, 0.62, 0.2), "magenta": (0.85, 0.0, 0.65), "cyan": (0.0, 0.7, 0.95), "yellow": (1.0, 0.85, 0.0)}


def blend(values: Sequence[Float32 | None], limits: Sequence[Limits]) -> Float32:
    """Return the colours of spots, RGB float32 (n, 3): the product of what each gene's ink lets through.

    Parameters
    ----------
    values : sequence of float32 (n,) or None
        Of two or three genes; None where one is not known, which prints nothing. One of them is.
    limits : sequence of (float, float)
        Of each: at the lower one there is no ink, at the upper one all.
    """
    rgb = np.ones((len(next(one for one in values if one is not None)), 3), np.float32)
    for one, (low, high), ink in zip(values, limits, INKS[len(values)], strict=True):
        if one is not None:
            share = np.clip((one - low) / (high - low), 0, 1)
            rgb *= 1 - share[:, None] * (1 - np.array(RGB[ink], np.float32))
    return rgb


def blend_legend(genes: Sequence[str], limits: Sequence[Limits]) -> list[str]:
    """Return a line for each gene: its ink, its name, and its limits."""
    each = zip(INKS[len(genes)], genes, limits, strict=True)
    return [f"{ink}: {gene} {low:.2f} to {high:.2f}" for ink, gene, (low, high) in each]
