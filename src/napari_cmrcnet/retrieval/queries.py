"""From the patches of a section to what the bank is asked with, alike for a new section and for those trained on."""

from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray

from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.model.cmrcnet import CMRCNet, FrozenCMRCNet
from napari_cmrcnet.model.symmetries import SYMMETRIES
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encode import encode_patches, readers
from napari_cmrcnet.retrieval.frozen_features import spot_features
from napari_cmrcnet.retrieval.protocol import Preprocessing, Query
from napari_cmrcnet.retrieval.search import unit_length
from napari_cmrcnet.sections.nearby_spots import spots_around
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.stain import PatchColours, patch_colours, spots_to_measure
from napari_cmrcnet.slides.patches import PatchBatch, read_patches

Float32 = NDArray[np.float32]


def section_colours(section: Section, preprocessing: Preprocessing, threads: int) -> Job[PatchColours]:
    """Return by what the pixels of a section are shifted and scaled; read from some of its patches, if from any.

    Patches that cannot be read are left out: encoding them all names them.
    """
    if not preprocessing.colour_normalisation:
        return PatchColours(preprocessing.mean, preprocessing.std)
    xy = section.xy[spots_to_measure(len(section.xy))]
    step, readable = "Measuring colours", []
    done = 0
    for batch in read_patches(section.slide, xy, preprocessing.patch, section.mpp, threads=threads):
        yield Progress(step, done, len(xy), "patches")
        done += len(batch.rows)
        readable.append(batch.pixels[~np.isin(batch.rows, batch.unreadable)])
    yield Progress(step, len(xy), len(xy), "patches")
    pixels = np.concatenate(readable)
    return patch_colours(pixels) if len(pixels) else PatchColours(preprocessing.mean, preprocessing.std)


def queries_of(
    section: Section, checkpoint: Checkpoint, *, device: torch.device, precision: str = "auto", batch_size: int = 64
) -> Job[Float32]:
    """Read and encode the patches of a section into what the bank of a checkpoint is asked with.

    Parameters
    ----------
    section : Section
        Slide and spots.
    checkpoint : Checkpoint
        Its model is moved to the device.
    device, precision
        As `encode_patches` takes them.
    batch_size : int
        Patches encoded at a time; with test-time augmentation a patch counts as eight.

    Returns
    -------
    float32 array, (n, d)
        As `encode_section` gives them.

    Raises
    ------
    UserError
        If patches cannot be read (which, and how many) or there is not enough memory.
    """
    if isinstance(checkpoint.model, FrozenCMRCNet):
        assert checkpoint.encoder is not None  # a frozen model has one
        features = yield from spot_features(section, checkpoint.encoder, device)
        with torch.inference_mode():
            return checkpoint.model.cpu().embed_features(torch.from_numpy(features)).numpy()
    card = checkpoint.card
    threads = readers(device)
    batch_size = max(1, batch_size // len(SYMMETRIES)) if card.query.test_time_augmentation else batch_size
    colours = yield from section_colours(section, card.preprocessing, threads)
    patches = read_patches(section.slide, section.xy, card.preprocessing.patch, section.mpp, batch_size, threads)
    query = card.query
    return (
        yield from encode_section(
            checkpoint.model, section, patches, colours, query, device=device, precision=precision
        )
    )


def encode_section(
    model: CMRCNet,
    section: Section,
    patches: Generator[PatchBatch],
    colours: PatchColours,
    query: Query,
    *,
    device: torch.device | str = "cpu",
    precision: str = "auto",
) -> Job[Float32]:
    """Encode the patches of a section's spots into the queries of a bank.

    Parameters
    ----------
    model : CMRCNet
        As `encode_patches` takes it.
    section : Section
        Whose spots the patches are of.
    patches : generator of PatchBatch
        All of them.
    colours : PatchColours
        From `section_colours`.
    query : Query
        What is done besides.

    Returns
    -------
    float32 array, (n, d)
        As `encode_patches` gives it; with neighbourhood smoothing, the sum of the spot's embedding of unit length and
        the weighted mean of those of the spots around it.
    """
    encoded = yield from encode_patches(
        model,
        patches,
        section,
        mean=colours.mean,
        std=colours.std,
        device=device,
        precision=precision,
        test_time_augmentation=query.test_time_augmentation,
    )
    if not query.neighbourhood_smoothing:
        return encoded
    around, unit = spots_around(section), unit_length(encoded)
    counts = np.maximum(np.asarray(around.sum(axis=1), np.float32), 1)  # (n, 1)
    smoothed: Float32 = unit + np.float32(query.neighbourhood_smoothing) * (around @ unit) / counts
    return smoothed
