"""Panels: named lists of marker genes, the paper's six and the user's own."""

import csv
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from napari_cmrcnet.common.errors import UserError, readable
from napari_cmrcnet.common.files import write_content
from napari_cmrcnet.common.text import read_text

# Columns that hold genes, the first that is there counts: of plain tables, HGNC, BioMart, scanpy, and Loupe
_GENE_HEADERS = (
    "gene", "genes", "symbol", "gene_symbol", "hgnc_symbol", "approved_symbol", "gene_name", "external_gene_name",
    "featurename", "feature_name", "names", "name", "marker", "markers",
    "gene_stable_id", "ensembl_gene_id", "ensembl_id", "gene_id", "gene_ids", "featureid", "feature_id",
)  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """A named list of marker genes, in the order given and without repetition.

    Parameters
    ----------
    name : str
        What it is called.
    genes : tuple of str
        All of its genes.
    down : tuple of str
        Those of them that are low where the others are high: they count against the score. A panel with a direction
        is a signature.
    """

    name: str
    genes: tuple[str, ...]
    down: tuple[str, ...] = ()


PANEL_MAY_LACK = ("down",)
"""What panels in files that are older than signatures lack."""


def _paper_panels() -> dict[str, Panel]:
    content = json.loads(files(__package__).joinpath("panels.json").read_text("utf-8"))
    return {key: Panel(entry["name"], tuple(entry["genes"])) for key, entry in content.items()}


PANELS: Mapping[str, Panel] = _paper_panels()
"""The marker genes of the paper's six datasets, by short name."""


def load_panel(name_or_path: str | os.PathLike[str]) -> Panel:
    """Return one of the paper's panels by name, or a panel from a file.

    Parameters
    ----------
    name_or_path : str or path
        A key of `PANELS` or its dataset's name, in any case; or a file: ``.gmt`` (``FILE:SET`` chooses one of several
        sets), ``.csv`` or ``.tsv`` (the column that is called ``gene`` or as HGNC, BioMart, scanpy or Loupe call it,
        else the first), any other as text with one gene per line, where ``#`` starts a comment. A ``-`` before a gene
        says that it is low where the others are high; of a ``.gmt``, ``SET`` is also the two sets ``SET_UP`` and
        ``SET_DN`` (or ``SET_DOWN``), as MSigDB names them.

    Raises
    ------
    UserError
        If there is no such panel or file, or it holds no gene.
    """
    known = PANELS.get(re.sub(r"[^a-z0-9]+", "_", str(name_or_path).casefold()))
    if known is not None:
        return known
    path, chosen = Path(name_or_path), None
    if not path.is_file():
        before, _, after = str(name_or_path).rpartition(":")
        if Path(before).suffix.casefold() != ".gmt" or not Path(before).is_file():
            raise UserError(
                f"{name_or_path} is neither a panel ({', '.join(PANELS)}) nor a file with genes; check the name."
            )
        path, chosen = Path(before), after
    with readable(path, "is not a readable text file of genes", errors=(OSError, UnicodeError)):
        lines = read_text(path).splitlines()
    try:
        match path.suffix.casefold():
            case ".gmt":
                return _from_gmt(path, lines, chosen)
            case ".csv" | ".tsv":
                separator = max(",;\t", key="".join(lines[:1]).count)
                genes = _first_column(csv.reader(lines, delimiter=separator))
            case _:
                genes = _one_a_line(path, lines)
    except csv.Error as error:
        raise UserError(f"{path} is not a table of genes ({error}); write one gene per line.") from error
    return _panel(path, path.stem, genes)


def save_panel(panel: Panel, path: str | os.PathLike[str]) -> None:
    """Write a panel as text with one gene per line, whole or not at all, as `load_panel` reads it.

    Parameters
    ----------
    panel : Panel
        Its genes; the name is not written, a panel that is read has its file's name.
    path : path
        The file.

    Raises
    ------
    UserError
        If the file cannot be written, is named as a table, or a gene's name cannot stand on a line.
    """
    path = Path(path)
    if path.suffix.casefold() in (".gmt", ".csv", ".tsv"):
        raise UserError(f"{path.name} is the name of a table; choose a name that ends in .txt for a panel.")
    if odd := [gene for gene in panel.genes if not gene or re.search(r"[\s,;#]", gene)]:
        raise UserError(f"{path} cannot hold the gene {odd[0]!r}, one name per line; leave it out of the panel.")
    write_content(path, "".join(f"{'-' * (gene in panel.down)}{gene}\n" for gene in panel.genes))


def _panel(path: Path, name: str, genes: Iterable[str]) -> Panel:
    written = [gene.strip() for gene in genes]
    signs = {gene.removeprefix("-").strip(): gene.startswith("-") for gene in written if gene.removeprefix("-").strip()}
    if not signs:
        raise UserError(f"{path} holds no gene for the panel {name}; write one gene per line.")
    return Panel(name, tuple(signs), tuple(gene for gene, down in signs.items() if down))


def _one_a_line(path: Path, lines: Iterable[str]) -> list[str]:
    """Read one gene per line, quoted or not; numbers beside it, such as scores, are passed over."""
    genes = []
    for number, line in enumerate(lines, start=1):
        gene, *others = [cell.strip().strip("\"'") for cell in re.split(r"[\s,;]+", line.partition("#")[0].strip())]
        if not all(map(_is_number, others)):
            raise UserError(f"{path}, line {number}: more than one gene; write one gene per line, or a .csv or .gmt.")
        genes.append(gene)
    return genes


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first_column(rows: Iterable[list[str]]) -> list[str]:
    table = [row for row in rows if row and not row[0].startswith("#")]
    header = [re.sub(r"[^a-z0-9]+", "_", cell.strip().casefold()) for cell in table[0]] if table else []
    for name in _GENE_HEADERS:
        if name in header:
            column = header.index(name)
            return [row[column] for row in table[1:] if len(row) > column]
    return [row[0] for row in table]


def _from_gmt(path: Path, lines: Iterable[str], chosen: str | None) -> Panel:
    """Read the Broad's gene matrix: set, description, genes, separated by tabs."""
    sets = {cells[0].strip(): cells[2:] for line in lines if len(cells := line.split("\t")) > 2}
    for name in [name for name in sets if name.endswith("_UP")]:
        stem = name.removesuffix("_UP")
        down = sets.get(f"{stem}_DN", sets.get(f"{stem}_DOWN"))
        if down is not None and stem not in sets and chosen in (stem, None) and (chosen or len(sets) == 2):
            sets = {stem: [*sets[name], *(f"-{gene.strip()}" for gene in down if gene.strip())]}
            break
    if chosen is None and len(sets) > 1:
        some = ", ".join(list(sets)[:5]) + (", …" if len(sets) > 5 else "")
        raise UserError(f"{path} holds {len(sets)} gene sets ({some}); choose one as {path}:{next(iter(sets))}.")
    if chosen is not None and chosen not in sets:
        raise UserError(f"{path} has no gene set {chosen}; it has {', '.join(list(sets)[:20]) or 'none'}.")
    name = chosen if chosen is not None else next(iter(sets), path.stem)
    return _panel(path, name, sets.get(name, []))
