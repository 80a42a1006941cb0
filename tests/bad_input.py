"""Bad slides, spots and checkpoints, made from good ones: what the command line and the panels are tested with."""

import json
import os
import re
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import anndata
import h5py
import numpy as np
import tifffile
from PIL import Image

from napari_cmrcnet.common.errors import Setting


@dataclass(frozen=True)
class Input:
    """What is predicted: good files, or files of which one is bad."""

    slide: Path
    spots: Path | None
    checkpoint: Path


@dataclass(frozen=True)
class Case:
    """One bad input.

    Parameters
    ----------
    make : callable
        Makes it in a folder, from good input whose slide is a TIFF with JPEG tiles.
    words : str
        Pattern of what the sentence about it says.
    setting : Setting
        What the sentence says can be changed.
    settings : mapping of str to float
        Settings of the run, by their names on the command line; an ``mpp`` of 0 is none.
    """

    make: Callable[[Input, Path], Input]
    words: str
    setting: Setting = ""
    settings: Mapping[str, float] = field(default_factory=dict)


# --- slides ----------------------------------------------------------------------------------------------------------


def slide_of(content: bytes) -> Callable[[Input, Path], Input]:
    """Make a file of such content that is called a slide."""

    def make(good: Input, folder: Path) -> Input:
        (folder / "scan.svs").write_bytes(content)
        return replace(good, slide=folder / "scan.svs")

    return make


def no_slide(good: Input, folder: Path) -> Input:
    return replace(good, slide=folder / "nowhere.svs")


def truncated_slide(good: Input, folder: Path) -> Input:
    (folder / "cut.tif").write_bytes(good.slide.read_bytes()[: good.slide.stat().st_size // 2])
    return replace(good, slide=folder / "cut.tif")


def corrupt_tile(good: Input, folder: Path) -> Input:
    slide = Path(shutil.copy(good.slide, folder / "corrupt.tif"))
    with tifffile.TiffFile(slide) as tiff:
        page = tiff.pages[0]
        middle = len(page.dataoffsets) // 2
        offset, count = page.dataoffsets[middle], page.databytecounts[middle]
    with open(slide, "r+b") as stream:
        stream.seek(offset)
        stream.write(bytes(count))
    return replace(good, slide=slide)


def impossible_tile(good: Input, folder: Path) -> Input:
    """Write a classic little-endian TIFF of under 200 bytes with one tile of 2^30 pixels a side."""
    huge = 1 << 30
    tags = [(256, 4, 1, huge), (257, 4, 1, huge), (258, 3, 1, 8), (259, 3, 1, 7), (262, 3, 1, 6), (277, 3, 1, 3),
            (322, 4, 1, huge), (323, 4, 1, huge), (324, 4, 1, 8), (325, 4, 1, 100)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    slide = folder / "bomb.tif"
    slide.write_bytes(b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0))
    return replace(good, slide=slide)


def lying_tile(good: Input, folder: Path) -> Input:
    """Make JPEG tiles whose headers say 20,000 × 20,000 pixels."""
    with tifffile.TiffFile(good.slide) as tiff:
        page = tiff.pages[0]
        offsets = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    content = bytearray(good.slide.read_bytes())
    for offset, count in offsets:
        start = content.index(b"\xff\xc0", offset, offset + count)
        content[start + 5 : start + 9] = struct.pack(">HH", 20000, 20000)
    (folder / "liar.tif").write_bytes(content)
    return replace(good, slide=folder / "liar.tif")


def flat_picture(good: Input, folder: Path) -> Input:
    Image.fromarray(np.full((600, 600, 3), 200, np.uint8)).save(folder / "flat.png")
    return replace(good, slide=folder / "flat.png", spots=None)


# --- spots -----------------------------------------------------------------------------------------------------------


def spots_with(change: Callable[[anndata.AnnData], object]) -> Callable[[Input, Path], Input]:
    """Change the good spots."""

    def make(good: Input, folder: Path) -> Input:
        spots = anndata.read_h5ad(good.spots)
        change(spots)
        spots.write_h5ad(folder / "s.h5ad")
        return replace(good, spots=folder / "s.h5ad")

    return make


def without_coordinates(spots: anndata.AnnData) -> None:
    del spots.obsm["spatial"]


def of_another_image(spots: anndata.AnnData) -> None:
    spots.obsm["spatial"] = spots.obsm["spatial"] * 5


def with_negative_count(spots: anndata.AnnData) -> None:
    spots.X = spots.X.astype(np.float32)
    spots.X.data[0] = -1


def of_another_species(spots: anndata.AnnData) -> None:
    spots.var_names = [f"mouse-{gene}" for gene in spots.var_names]
    spots.var.drop(columns="gene_ids", errors="ignore", inplace=True)


def reading_another_file(good: Input, folder: Path) -> Input:
    (folder / "secret").write_bytes(bytes(800))
    bad = spots_with(lambda _: None)(good, folder)
    assert bad.spots is not None
    with h5py.File(bad.spots, "r+") as file:
        file.create_dataset("layers/stolen", shape=(100,), dtype="f8", external=[(str(folder / "secret"), 0, 800)])
    return bad


def truncated_spots(good: Input, folder: Path) -> Input:
    assert good.spots is not None
    (folder / "s.h5ad").write_bytes(good.spots.read_bytes()[: good.spots.stat().st_size // 2])
    return replace(good, spots=folder / "s.h5ad")


def same_input(good: Input, folder: Path) -> Input:
    return good


# --- checkpoints -----------------------------------------------------------------------------------------------------


def checkpoint_with(change: Callable[[Path], object]) -> Callable[[Input, Path], Input]:
    """Change a copy of the good checkpoint."""

    def make(good: Input, folder: Path) -> Input:
        copy = Path(shutil.copytree(good.checkpoint, folder / "copy.cmrcnet"))
        change(copy)
        return replace(good, checkpoint=copy)

    return make


def changed_byte(name: str) -> Callable[[Path], None]:
    def change(checkpoint: Path) -> None:
        with open(checkpoint / name, "r+b") as stream:
            stream.seek(-100, os.SEEK_END)
            byte = stream.read(1)
            stream.seek(-1, os.SEEK_CUR)
            stream.write(bytes([byte[0] ^ 1]))

    return change


def changed_value(folder: Path) -> None:
    """Change a value of the bank, and nothing of the file's structure, which is looked at before a run."""
    with h5py.File(folder / "bank.h5ad", "r+") as file:
        file["X/data"][0] += 1


def newer_version(checkpoint: Path) -> None:
    card = json.loads((checkpoint / "card.json").read_text())
    card["format_version"] += 1
    (checkpoint / "card.json").write_text(json.dumps(card))


CASES: dict[str, Case] = {
    "no slide": Case(no_slide, r"nowhere\.svs does not exist"),
    "empty slide": Case(slide_of(b""), r"scan\.svs is empty"),
    "text for a slide": Case(slide_of(b"this is a text file, not a slide\n" * 20), r"scan\.svs"),
    "truncated slide": Case(truncated_slide, r"cut\.tif is (cut short|damaged)"),
    "corrupt tile": Case(corrupt_tile, r"of \d+ patches of .*corrupt\.tif could not be read"),
    "impossible tile": Case(impossible_tile, r"bomb\.tif"),
    "lying tiles": Case(lying_tile, r"liar\.tif"),
    "no coordinates": Case(spots_with(without_coordinates), r"s\.h5ad has no obsm\['spatial'\]"),
    "another image's pixels": Case(spots_with(of_another_image), r"s\.h5ad has .* spots outside .*\.tif"),
    "negative count": Case(spots_with(with_negative_count), "negative"),
    "spots that read another file": Case(reading_another_file, r"s\.h5ad stores /layers/stolen in other files"),
    "truncated spots": Case(truncated_spots, r"s\.h5ad is damaged or cut short"),
    "no gene in common": Case(spots_with(of_another_species), r"s\.h5ad and the checkpoint have no gene in common"),
    "unknown pixel size": Case(
        flat_picture,
        r"flat\.png is not known .*; use the scanner's own file instead of a screenshot, or give it",
        "pixel size",
        {"mpp": 0},
    ),
    "impossible pixel size": Case(same_input, "The given pixel size is 9 µm", "pixel size", {"mpp": 9}),
    "k above the bank": Case(same_input, r"k is 100000, but .* has [\d,]+ spots", "k", {"k": 100_000}),
    "changed model": Case(checkpoint_with(changed_byte("model.safetensors")), r"model\.safetensors was changed"),
    "changed bank": Case(checkpoint_with(changed_value), r"bank\.h5ad was changed"),
    "no card": Case(
        checkpoint_with(lambda folder: (folder / "card.json").unlink()),
        r"copy\.cmrcnet is not a complete model: it lacks card",
    ),
    "no model": Case(
        checkpoint_with(lambda folder: (folder / "model.safetensors").unlink()), r"model\.safetensors is missing"
    ),
    "no bank": Case(checkpoint_with(lambda folder: (folder / "bank.h5ad").unlink()), r"bank\.h5ad is missing"),
    "newer checkpoint": Case(checkpoint_with(newer_version), r"card\.json has format version .* update"),
    "pickle in the checkpoint": Case(
        checkpoint_with(lambda folder: (folder / "model.pkl").write_bytes(b"\x80\x04.")), r"model\.pkl .* do not use it"
    ),
}


def fits(case: Case, sentence: str) -> bool:
    """Whether a sentence says what it must about a case."""
    return re.search(case.words, sentence) is not None
