"""What a frozen encoder sees at each spot: computed once, kept in the cache, shared by folds, seeds and methods."""

from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.cache import kept_array
from napari_cmrcnet.common.progress import Job
from napari_cmrcnet.model.pretrained import Pretrained
from napari_cmrcnet.retrieval.encode import encode_patches, readers
from napari_cmrcnet.retrieval.encoder_entry import fields_of
from napari_cmrcnet.sections.nearby_spots import spots_around
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patch_cache import cache_key
from napari_cmrcnet.slides.patches import PatchSpec, read_patches

Float16 = NDArray[np.float16]
Float32 = NDArray[np.float32]

LARGEST = float(np.finfo(np.float16).max)
NEARLY_NONE = 1e-6  # deviation of a feature that is the same everywhere but for rounding
CACHE_VERSION = 2  # counted up when the same patch would give other features


def spot_features(section: Section, encoder: Pretrained, device: torch.device | str = "cpu") -> Job[Float32]:
    """Describe each spot by a frozen encoder: three fields of view, and the mean of the spots around it.

    Each number has mean 0 and deviation 1 over the section, so that a slide's tint is taken out.

    Parameters
    ----------
    section : Section
        Slide and spots; counts are not read.
    encoder : Pretrained
        Which describes them.
    device : torch.device or str
        Where to encode what is not in the cache.

    Returns
    -------
    float32 (n, 4 * width)
        What the encoder says of each field, see `fields_of`, and of the spots around in the widest one.

    Raises
    ------
    UserError
        If patches cannot be read, the weights are missing, or the disk is full.
    """
    fields = []
    for spec in fields_of(encoder.encoder):
        fields.append(_standardised((yield from field_features(section, spec, encoder, device))))
    near = spots_around(section)
    count = np.asarray(near.sum(axis=1), np.float32)
    around = np.where(count > 0, near @ fields[-1] / np.maximum(count, 1), fields[-1])
    return np.hstack([*fields, _standardised(around)])


def field_features(
    section: Section, spec: PatchSpec, encoder: Pretrained, device: torch.device | str = "cpu"
) -> Job[Float16]:
    """Return what the encoder says of one field of view at each spot, as it is, or find what it said before.

    Parameters
    ----------
    section, encoder, device
        As `spot_features` takes them.
    spec : PatchSpec
        The field, one of `fields_of`.

    Returns
    -------
    read-only memory map, float16 (n, width)
        Its ``filename`` is the file, named by all that decides the values.

    Raises
    ------
    UserError
        As `spot_features`.
    """
    device = torch.device(device)
    name, shape = (
        f"{cache_key(section, spec)}-{encoder.key}-{CACHE_VERSION}",
        (len(section.spots), encoder.encoder.width),
    )

    def write(stream: BinaryIO) -> Job[None]:
        np.save(stream, (yield from _encode(section, spec, encoder, device)), allow_pickle=False)

    return (yield from kept_array("features", name, shape, np.float16, write))


def _encode(section: Section, spec: PatchSpec, encoder: Pretrained, device: torch.device) -> Job[Float16]:
    embeddings = yield from encode_patches(
        encoder.network(),
        read_patches(section.slide, section.xy, spec, section.mpp, threads=readers(device)),
        section,
        mean=encoder.encoder.mean,
        std=encoder.encoder.std,
        device=device,
    )
    return embeddings.clip(-LARGEST, LARGEST).astype(np.float16)


def _standardised(features: NDArray[np.floating]) -> Float32:
    values = features.astype(np.float32)
    values -= values.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = np.sqrt(np.square(values).mean(axis=0, dtype=np.float64)).astype(np.float32)
    values /= np.where(deviation > NEARLY_NONE, deviation, 1)
    return values
