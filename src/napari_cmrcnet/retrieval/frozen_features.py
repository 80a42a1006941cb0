"""What a frozen encoder sees at each spot: computed once, kept in the cache, shared by folds, seeds and methods."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.cache import cache_folder, mark_used, trim_cache
from napari_cmrcnet.common.files import atomic_file
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.model.pretrained import Pretrained
from napari_cmrcnet.retrieval.encode import encode_patches
from napari_cmrcnet.retrieval.encoder_entry import fields_of
from napari_cmrcnet.sections.nearby_spots import spots_around
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patch_cache import cache_key
from napari_cmrcnet.slides.patches import PatchSpec, read_patches, unreadable_error

Float32 = NDArray[np.float32]

CACHE_VERSION = 1  # counted up when the same patch would give other features


def spot_features(section: Section, encoder: Pretrained, device: torch.device | str = "cpu") -> Job[Float32]:
    """Describe each spot by a frozen encoder: two fields of view, and the mean of the spots around it.

    Each number has mean 0 and deviation 1 over the section, so that a slide's tint is taken out.

    Parameters
    ----------
    section : Section
        Slide and spots; counts are not read.
    encoder : Pretrained
        Which describes them.
    device : torch.device or str
        Where to encode what is not in the cache.

    Yields
    ------
    Progress
        Once a batch of patches.

    Returns
    -------
    float32 (n, 3 * width)
        What the encoder says of each field, see `fields_of`, and of the spots around in the smaller one.

    Raises
    ------
    UserError
        If patches cannot be read, the weights are missing, or the disk is full.
    """
    fields = []
    for spec in fields_of(encoder.encoder):
        fields.append(_standardised((yield from _encoded(section, spec, encoder, device))))
    near = spots_around(section)
    count = np.asarray(near.sum(axis=1), np.float32)
    around = np.where(count > 0, near @ fields[0] / np.maximum(count, 1), fields[0])
    return np.hstack([*fields, _standardised(around)])


def _encoded(section: Section, spec: PatchSpec, encoder: Pretrained, device: torch.device | str) -> Job[Float32]:
    """Encode the patches at a section's spots, float32 (n, width), or find what was encoded before."""
    name = f"{cache_key(section, spec)}-{encoder.key}-{CACHE_VERSION}.npy"
    path, n = cache_folder("features") / name, len(section.spots)
    if (kept := _kept(path, n)) is None:
        encoded = yield from encode_patches(
            encoder.network(),
            read_patches(section.slide, section.xy, spec, section.mpp),
            n,
            mean=encoder.encoder.mean,
            std=encoder.encoder.std,
            device=device,
        )
        if len(encoded.unreadable):
            raise unreadable_error(section.slide, section.spots.obs_names[encoded.unreadable].tolist(), n)
        kept = encoded.embeddings
        with atomic_file(path) as temporary, open(temporary, "wb") as stream:
            np.save(stream, kept, allow_pickle=False)
        trim_cache("features")
    mark_used(path)
    return kept


def _kept(path: Path, n: int) -> Float32 | None:
    try:
        features: Float32 = np.load(path)
    except (OSError, ValueError):  # absent, or not what was written
        return None
    return features if features.ndim == 2 and len(features) == n and features.dtype == np.float32 else None


def _standardised(features: NDArray[np.floating]) -> Float32:
    values = features.astype(np.float64)
    deviation = values.std(axis=0)
    standardised = (values - values.mean(axis=0)) / np.where(deviation > 1e-9, deviation, 1)
    return np.asarray(standardised, np.float32)
