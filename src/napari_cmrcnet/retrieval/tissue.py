"""What a section looks like, in numbers, to compare a slide with the training sections: stain, sharpness, tissue."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.retrieval.encode import readers
from napari_cmrcnet.retrieval.encoder_entry import fields_of
from napari_cmrcnet.retrieval.frozen_features import field_features
from napari_cmrcnet.retrieval.likeness import STAIN, TISSUE, Likeness, Usual
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.stain import stain_and_sharpness
from napari_cmrcnet.slides.patches import PatchSpec, read_patches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_cmrcnet.model.pretrained import Pretrained

SPOTS_READ = 128
"""Spots whose patches tell the stain and the sharpness: evenly among all, or all."""
PATCH = PatchSpec()  # of one size for all models, so that their limits can be compared


@dataclass(frozen=True, eq=False)
class Described:
    """One kind of features at some spots of a section.

    Parameters
    ----------
    features : float (n, f)
        One row per spot.
    xy : float64 (n, 2)
        The spots.
    """

    features: NDArray[np.floating[Any]]
    xy: NDArray[np.float64]


def describe_tissue(
    section: Section, encoder: "Pretrained | None" = None, device: "torch.device | str" = "cpu"
) -> Job[dict[str, Described]]:
    """Describe the stain and sharpness of a section, and what a frozen encoder sees.

    Parameters
    ----------
    section : Section
        Slide and spots; counts are not read.
    encoder : Pretrained, optional
        Of a frozen model. Its features are those that the model is asked with, before they are standardised.
    device : torch.device or str
        Where to encode what is not in the cache.

    Returns
    -------
    dict of str to Described
        By `STAIN` and, with an encoder, `TISSUE`. A patch that cannot be read is left out of the stain.

    Raises
    ------
    UserError
        If patches cannot be read for the encoder, or its weights are missing.
    """
    rows = np.linspace(0, len(section.xy) - 1, min(len(section.xy), SPOTS_READ)).astype(np.int64)
    xy, parts, read, done = section.xy[rows], [], [], 0
    for batch in read_patches(section.slide, xy, PATCH, section.mpp, threads=readers(torch.device(device))):
        yield Progress("Measuring stain and sharpness", done, len(xy), "patches")
        kept = ~np.isin(batch.rows, batch.unreadable)
        parts.append(stain_and_sharpness(batch.pixels[kept]))
        read.append(batch.rows[kept])
        done += len(batch.rows)
    yield Progress("Measuring stain and sharpness", len(xy), len(xy), "patches")
    described = {STAIN: Described(np.concatenate(parts), xy[np.concatenate(read)])}
    if encoder is not None:
        smallest = fields_of(encoder.encoder)[0]
        described[TISSUE] = Described((yield from field_features(section, smallest, encoder, device)), section.xy)
    return described


def likeness_of(
    section: Section,
    usual: "Mapping[str, Usual]",
    encoder: "Pretrained | None" = None,
    device: "torch.device | str" = "cpu",
) -> Job[Likeness | None]:
    """Compare a slide with the training sections as `Card.usual_tissue` has them; None where that has nothing.

    Raises
    ------
    UserError
        As `describe_tissue`.
    """
    if not usual:
        return None
    described = yield from describe_tissue(section, encoder, device)
    means = {kind: one.features.mean(axis=0, dtype=np.float64) for kind, one in described.items()}
    return Likeness({kind: one.far(means[kind]) for kind, one in usual.items()})
