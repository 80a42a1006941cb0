"""Panels: named lists of marker genes, the paper's six and the user's own."""

import csv
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from napari_cmrcnet.common.errors import UserError, cannot_read, first_line
from napari_cmrcnet.common.files import atomic_file

_GENE_HEADERS = ("gene", "genes", "symbol", "gene_symbol", "gene_name", "name", "marker", "markers")


@dataclass(frozen=True)
class Panel:
    """A named list of marker genes, in the order given and without repetition."""

    name: str
    genes: tuple[str, ...]


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
        sets), ``.csv`` or ``.tsv`` (the column ``gene``, else the first), any other as text with one gene a line,
        where ``#`` starts a comment.

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
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise cannot_read(path, error, f"{path} is not a readable text file of genes ({first_line(error)}).") from error
    try:
        match path.suffix.casefold():
            case ".gmt":
                return _from_gmt(path, lines, chosen)
            case ".csv" | ".tsv" as suffix:
                genes = _first_column(csv.reader(lines, delimiter="\t" if suffix == ".tsv" else ","))
            case _:
                genes = _one_a_line(path, lines)
    except csv.Error as error:
        raise UserError(f"{path} is not a table of genes ({error}); write one gene a line.") from error
    return _panel(path, path.stem, genes)


def save_panel(panel: Panel, path: str | os.PathLike[str]) -> None:
    """Write a panel as text with one gene a line, whole or not at all, as `load_panel` reads it.

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
        raise UserError(f"{path} cannot hold the gene {odd[0]!r}, one name a line; leave it out of the panel.")
    with atomic_file(path) as temporary:
        temporary.write_text("".join(f"{gene}\n" for gene in panel.genes), "utf-8")


def _panel(path: Path, name: str, genes: Iterable[str]) -> Panel:
    kept = tuple(dict.fromkeys(gene.strip() for gene in genes if gene.strip()))
    if not kept:
        raise UserError(f"{path} holds no gene for the panel {name}; one gene a line is enough.")
    return Panel(name, kept)


def _one_a_line(path: Path, lines: Iterable[str]) -> list[str]:
    genes = [line.partition("#")[0].strip() for line in lines]
    for number, gene in enumerate(genes, start=1):
        if re.search(r"[\s,;]", gene):
            raise UserError(f"{path}, line {number}: more than one gene; write one gene a line, or a .csv or .gmt.")
    return genes


def _first_column(rows: Iterable[list[str]]) -> list[str]:
    table = [row for row in rows if row and not row[0].startswith("#")]
    header = [cell.strip().casefold() for cell in table[0]] if table else []
    for name in _GENE_HEADERS:
        if name in header:
            column = header.index(name)
            return [row[column] for row in table[1:] if len(row) > column]
    return [row[0] for row in table]


def _from_gmt(path: Path, lines: Iterable[str], chosen: str | None) -> Panel:
    """Read the Broad's gene matrix: set, description, genes, separated by tabs."""
    sets = {cells[0].strip(): cells[2:] for line in lines if len(cells := line.split("\t")) > 2}
    if chosen is None and len(sets) > 1:
        some = ", ".join(list(sets)[:5]) + (", …" if len(sets) > 5 else "")
        raise UserError(f"{path} holds {len(sets)} gene sets ({some}); choose one as {path}:{next(iter(sets))}.")
    if chosen is not None and chosen not in sets:
        raise UserError(f"{path} has no gene set {chosen}; it has {', '.join(list(sets)[:20]) or 'none'}.")
    name = chosen if chosen is not None else next(iter(sets), path.stem)
    return _panel(path, name, sets.get(name, []))
