"""Foreign slides: which slides are said to be like the training tissue, partly, or not.

usage: python -m benchmarks.foreign SHEET [SLIDE ...]

Each section of the sheet is left out in turn. What the others look like is learned as in the training of a frozen
model, and the section left out, its halves and quarters are compared with it: those beyond the limit are false alarms.
Then, with the last section left out, come the slides, and that section with its stain, focus or pixels changed.
docs/expected.md has the table.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.model.pretrained import packaged
from napari_cmrcnet.retrieval.encode import encode_patches
from napari_cmrcnet.retrieval.encoder_entry import fields_of
from napari_cmrcnet.retrieval.likeness import STAIN, TISSUE, Likeness, Usual
from napari_cmrcnet.retrieval.tissue import Described, describe_tissue
from napari_cmrcnet.sections.nearby_spots import compact_blocks
from napari_cmrcnet.sections.section import Section, open_section
from napari_cmrcnet.sections.sheet import read_sheet
from napari_cmrcnet.sections.stain import stain_and_sharpness
from napari_cmrcnet.slides.patches import PatchBatch, read_patches
from napari_cmrcnet.training.usual_tissue import usual_tissue

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]
EVERY = 2  # spots of a changed section, from one that is described to the next


def stains(haematoxylin: float, eosin: float) -> Change:
    """Return what multiplies the two stains, by colour deconvolution (Ruifrok & Johnston 2001)."""

    def change(pixels: Pixels) -> Pixels:
        from skimage.color import hed2rgb, rgb2hed

        amounts = rgb2hed(pixels) * (haematoxylin, eosin, 1)
        return (np.clip(hed2rgb(amounts), 0, 1) * 255).astype(np.uint8)

    return change


def light(red: float, green: float, blue: float) -> Change:
    """Return what multiplies the three colours, as another lamp or scanner does."""
    return lambda pixels: np.clip(pixels * np.array([red, green, blue]), 0, 255).astype(np.uint8)


def blurred(um: float) -> Change:
    """Return what blurs patches of 0.5 µm a pixel by a Gaussian of so many µm."""

    def change(pixels: Pixels) -> Pixels:
        from scipy.ndimage import gaussian_filter

        return gaussian_filter(pixels, (0, 2 * um, 2 * um, 0))

    return change


def sharpened(pixels: Pixels) -> Pixels:
    """Add once the difference from a blur of 0.75 µm."""
    own = pixels.astype(np.float32)
    return np.clip(2 * own - blurred(0.75)(pixels), 0, 255).astype(np.uint8)


def noisy(pixels: Pixels) -> Pixels:
    """Add normal noise with a deviation of 8 of 255."""
    return np.clip(pixels + np.random.default_rng(0).normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)


CHANGES: Mapping[str, Change] = {
    **{f"both stains × {times:g}": stains(times, times) for times in (0.7, 0.85, 1.15, 1.3)},
    **{f"haematoxylin × {times:g}": stains(times, 1) for times in (0.7, 1.3)},
    **{f"eosin × {times:g}": stains(1, times) for times in (0.7, 1.3)},
    "warmer light": light(1.05, 1, 0.9),
    "colder light": light(0.92, 1, 1.06),
    "darker": light(0.85, 0.85, 0.85),
    **{f"blur of {um:g} µm": blurred(um) for um in (0.5, 1, 2)},
    "sharpened": sharpened,
    "noise": noisy,
}


def described(section: Section, change: Change) -> dict[str, Described]:
    """Describe every second spot of a section whose patches are changed, as `describe_tissue` does."""
    encoder, xy = packaged(), section.xy[::EVERY]
    stain = np.empty((len(xy), 8))

    def batches() -> Iterator[PatchBatch]:
        for batch in read_patches(section.slide, xy, fields_of(encoder.encoder)[0], section.mpp):
            pixels = change(batch.pixels)
            stain[batch.rows] = stain_and_sharpness(pixels)
            yield PatchBatch(batch.rows, pixels, batch.unreadable)

    about = encoder.encoder
    spots = SimpleNamespace(xy=xy)
    job = encode_patches(encoder.network(), batches(), spots, mean=about.mean, std=about.std, device="cpu")
    return {STAIN: Described(stain, xy), TISSUE: Described(finish(job), xy)}


def compared(one: Mapping[str, Described], usual: Mapping[str, Usual]) -> Likeness:
    """Return how like the training sections a described slide is."""
    return Likeness({kind: usual[kind].far(one[kind].features.mean(axis=0, dtype=np.float64)) for kind in usual})


def parts_of(one: Mapping[str, Described], parts: int) -> list[dict[str, Described]]:
    """Divide a described section into compact parts."""
    blocks = {kind: compact_blocks(each.xy, -(-len(each.xy) // parts)) for kind, each in one.items()}
    return [
        {kind: Described(one[kind].features[rows], one[kind].xy[rows]) for kind, rows in zip(blocks, part, strict=True)}
        for part in zip(*blocks.values(), strict=True)
    ]


def row(name: str, found: Likeness) -> str:
    """Return a row of the table in Markdown."""
    return f"| {name} | {' | '.join(f'{far:.2f}' for far in found.far.values())} | {found.verdict} |"


def main() -> None:
    """Print the tables."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    with ExitStack() as slides:
        sections = [one.open() for one in read_sheet(Path(sys.argv[1]))]
        others = [open_section(path) for path in sys.argv[2:]]
        for section in [*sections, *others]:
            slides.enter_context(section.slide)
        known = [finish(describe_tissue(section, packaged())) for section in sections]
        alarms = dict.fromkeys((1, 2, 4), 0)
        print(f"| slide | {STAIN} | {TISSUE} | verdict |\n|---|---:|---:|---|")
        for place, section in enumerate(sections):
            rest = [index for index in range(len(sections)) if index != place]
            usual = usual_tissue([known[index] for index in rest], [sections[index].name for index in rest])
            print(row(f"{section.name}, left out", compared(known[place], usual)))
            for parts in alarms:
                farthest = [max(compared(part, usual).far.values()) for part in parts_of(known[place], parts)]
                alarms[parts] += int(np.sum(np.array(farthest) > 1))
        for other in others:
            print(row(Path(other.slide.path).name, compared(finish(describe_tissue(other, packaged())), usual)))
        for name, change in CHANGES.items():
            print(row(f"{sections[-1].name}, {name}", compared(described(sections[-1], change), usual)), flush=True)
        for parts, number in alarms.items():
            print(f"False alarms, sections in {parts} part(s): {number} of {parts * len(sections)}")


if __name__ == "__main__":
    main()
