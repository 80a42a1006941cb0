"""Make the synthetic sample again: one section, what its encoder sees, and a checkpoint trained on three others.

usage: python sample_data/make_sample.py [FOLDER]     (FOLDER: where to put it; this folder by default)
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.checkpoint import Checkpoint
from napari_cmrcnet.retrieval.encoder_entry import fields_of
from napari_cmrcnet.retrieval.frozen_features import field_features
from napari_cmrcnet.sections.section import open_section

SEED = 7


def run(*arguments: str | Path) -> None:
    """Run one command of napari-cmrcnet."""
    subprocess.run([sys.executable, "-m", "napari_cmrcnet", *map(str, arguments)], check=True)


def make_sample(folder: Path) -> None:
    """Write ``S4.tif``, ``S4.h5ad``, ``sections.csv``, ``features`` and ``sample.cmrcnet`` to a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        sections, features = Path(scratch) / "sections", Path(scratch) / "features"
        checkpoint = Path(scratch) / "sample.cmrcnet"
        run("simulate", sections, "--sections", "4", "--seed", str(SEED))
        run(
            *("train", sections / "sections.csv", "--without", "S4", "--out", checkpoint),
            *("--device", "cpu", "--panel", "idc"),
        )
        keep_features(sections / "S4.tif", sections / "S4.h5ad", checkpoint, features)
        header, *rows = (sections / "sections.csv").read_text().splitlines()
        (sheet_row,) = [row for row in rows if row.startswith("S4,")]
        (folder / "sections.csv").write_text(f"{header}\n{sheet_row}\n")
        for name in ("S4.tif", "S4.h5ad"):
            shutil.copy(sections / name, folder / name)
        for made in (features, checkpoint):
            shutil.rmtree(folder / made.name, ignore_errors=True)
            shutil.copytree(made, folder / made.name)


def keep_features(slide: Path, spots: Path, checkpoint: Path, folder: Path) -> None:
    """Keep what the checkpoint's encoder says of a section, under the names by which the cache finds it."""
    folder.mkdir()
    encoder = Checkpoint.load(checkpoint).encoder
    section = open_section(slide, spots)
    with section.slide:
        for spec in fields_of(encoder.encoder):
            shutil.copy(finish(field_features(section, spec, encoder)).filename, folder)


if __name__ == "__main__":
    make_sample(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
