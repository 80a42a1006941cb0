"""Patches cut once and kept: training reads them sixty times, and must not decode a slide each time."""

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from napari_cmrcnet.common.cache import kept_array
from napari_cmrcnet.common.files import file_digest
from napari_cmrcnet.common.progress import Job, Progress
from napari_cmrcnet.slides.patches import PatchSpec, read_patches, unreadable_error
from napari_cmrcnet.slides.source import slide_files

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

# Counted up when the same slide would give other pixels, so that no old cache is taken for a new one.
CACHE_VERSION = 1


def slide_digest(path: str | os.PathLike[str]) -> str:
    """Return a SHA-256 of all files that make up a slide.

    A folder, the data folder beside an MRXS file and the instances beside a DICOM file belong to the slide.
    """
    path = Path(path)
    files = sorted(slide_files(path))
    if files == [path]:
        return file_digest(path)
    manifest = [(file.relative_to(path.parent).as_posix(), file_digest(file)) for file in files]
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


def cache_key(section: "Section", spec: PatchSpec) -> str:
    """Return the name under which a section's patches are kept: a hash of all that decides their pixels."""
    settings = [CACHE_VERSION, slide_digest(section.slide.path), spec.patch_px, spec.model_mpp, section.mpp]
    key = hashlib.sha256(json.dumps(settings).encode())
    key.update(np.ascontiguousarray(section.xy, dtype="<f8").tobytes())
    return key.hexdigest()[:32]


def patch_cache(section: "Section", spec: PatchSpec) -> Job[NDArray[np.uint8]]:
    """Cut the patches at a section's spots, or find them where they were cut before.

    Parameters
    ----------
    section : Section
        Slide and spots.
    spec : PatchSpec
        Size and resolution of a patch.

    Returns
    -------
    read-only memory map, uint8 (n, patch_px, patch_px, 3)
        Patches in the order of the spots; its ``filename`` is the cache file.

    Raises
    ------
    UserError
        If patches cannot be read from the slide (which, and how many), or the disk is full. No file is left.
    """
    shape = (len(section.xy), spec.patch_px, spec.patch_px, 3)
    name = cache_key(section, spec)
    return (yield from kept_array("patches", name, shape, np.uint8, partial(_cut, section, spec, shape)))


def _cut(section: "Section", spec: PatchSpec, shape: tuple[int, ...], stream: BinaryIO) -> Job[None]:
    step = f"Cutting patches of {section.name}"
    unreadable: list[int] = []
    done = 0
    yield Progress(step, 0, shape[0], "patches")
    # Written, not memory-mapped: a full disk is then an error, where a map would end the process.
    npy.write_array_header_2_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    start = stream.tell()
    for batch in read_patches(section.slide, section.xy, spec, section.mpp):
        for row, pixels in zip(batch.rows.tolist(), batch.pixels, strict=True):
            stream.seek(start + row * pixels.nbytes)
            stream.write(np.ascontiguousarray(pixels).data)
        unreadable += batch.unreadable.tolist()
        done += len(batch.rows)
        yield Progress(step, done, shape[0], "patches")
    if unreadable:
        raise unreadable_error(section, unreadable)
