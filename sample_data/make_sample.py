"""Make the synthetic sample again: one section, and a checkpoint trained on three others.

usage: python sample_data/make_sample.py [FOLDER]     (FOLDER: where to put it; this folder by default)
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SEED = 7


def run(*arguments: str | Path) -> None:
    """Run one command of napari-cmrcnet."""
    subprocess.run([sys.executable, "-m", "napari_cmrcnet", *map(str, arguments)], check=True)


def make_sample(folder: Path) -> None:
    """Write ``S4.tif``, ``S4.h5ad``, ``sections.csv`` and ``sample.cmrcnet`` to a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        sections = Path(scratch) / "sections"
        checkpoint = Path(scratch) / "sample.cmrcnet"
        run("simulate", sections, "--sections", "4", "--seed", str(SEED))
        run(
            *("train", sections / "sections.csv", "--without", "S4", "--out", checkpoint, "--preset", "tiny"),
            *("--variant", "paper"),
            *("--epochs", "60", "--learning-rate", "1e-3", "--device", "cpu", "--panel", "idc"),
        )
        header, *rows = (sections / "sections.csv").read_text().splitlines()
        (sheet_row,) = [row for row in rows if row.startswith("S4,")]
        (folder / "sections.csv").write_text(f"{header}\n{sheet_row}\n")
        for name in ("S4.tif", "S4.h5ad"):
            shutil.copy(sections / name, folder / name)
        shutil.rmtree(folder / checkpoint.name, ignore_errors=True)
        shutil.copytree(checkpoint, folder / checkpoint.name)


if __name__ == "__main__":
    make_sample(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
