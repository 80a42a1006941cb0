"""Run the notebooks of the guide and keep what they show: ``make notebooks``."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent / "notebooks"
OF_A_RUN = ("execution", "collapsed")  # what differs from run to run


def run(path: Path) -> None:
    """Run a notebook in its folder, and write it with the output of each cell."""
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in book.cells:
        for name in OF_A_RUN:
            cell.metadata.pop(name, None)
    book.metadata = {"kernelspec": book.metadata["kernelspec"], "language_info": {"name": "python"}}
    nbformat.write(book, path)


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "ignore"  # they name files of this machine
    for notebook in sorted(FOLDER.glob("*.ipynb")):
        run(notebook)
