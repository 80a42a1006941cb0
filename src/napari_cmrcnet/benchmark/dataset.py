"""What a benchmark is run on: sections from a sheet or one of the paper's datasets, not yet opened."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_cmrcnet.catalogue.hest_folder import on_tissue
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.sections.gene_joining import comparable, renamed, with_totals_over
from napari_cmrcnet.sections.panels import Panel
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.sections.sheet import SheetRow, read_sheet
from napari_cmrcnet.sections.totals import IN_TOTAL


@dataclass(frozen=True)
class Dataset:
    """Sections to compare methods on.

    Parameters
    ----------
    name : str
        What tables and reports call it.
    rows : tuple of SheetRow
        The sections.
    panel : Panel, optional
        The marker genes.
    map_genes : tuple of str
        Genes that are drawn as maps, besides the best predicted.
    replicates : tuple of tuple of str
        Groups of sections cut from one block.
    patches : mapping of str to Path
        By section, HEST's patches: only spots that have one are kept. Empty: all spots are.
    min_umi : int
        Spots with fewer counts are dropped.
    paper : str
        What the paper calls the dataset, ``""`` where it is none of the paper's.
    paper_size : tuple of int, optional
        How many spots, of all sections, and how many genes the paper names.
    notes : tuple of str
        What a reader of the scores must know.
    gene_names : mapping of str to mapping of str to str
        By section, the names in all sections of genes that its own file calls otherwise.
    in_total : frozenset of str
        Genes over which totals are taken; empty: over all that a section has.
    """

    name: str
    rows: tuple[SheetRow, ...]
    panel: Panel | None = None
    map_genes: tuple[str, ...] = ()
    replicates: tuple[tuple[str, ...], ...] = ()
    patches: Mapping[str, Path] = field(default_factory=dict)
    min_umi: int = 0
    paper: str = ""
    paper_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    gene_names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    in_total: frozenset[str] = frozenset()

    def joined(self, sections: Sequence[Section]) -> "tuple[Dataset, list[Section]]":
        """Return the dataset that opens its sections so that they can be compared, and these sections; `comparable`."""
        named = comparable(sections)
        names = {}
        for before, after in zip(sections, named, strict=True):
            pairs = zip(map(str, before.spots.var_names), map(str, after.spots.var_names), strict=True)
            names[before.name] = {own: common for own, common in pairs if own != common}
        in_total = {
            name for section in named if IN_TOTAL in (var := section.spots.var) for name in var.index[var[IN_TOTAL]]
        }
        panel, notes = self.panel, self.notes
        if panel is not None:
            every = GeneNames.of_any(section.spots.var for section in named)
            every.check_panel(panel, self.name)
            notes = (*notes, *every.taken_for(panel))  # what is missing, `section_notes` says
            panel = every.with_these(panel)
        return replace(self, panel=panel, notes=notes, gene_names=names, in_total=frozenset(in_total)), named

    @property
    def markers(self) -> tuple[str, ...]:
        """The panel's genes."""
        return self.panel.genes if self.panel else ()

    @property
    def shown(self) -> tuple[str, ...]:
        """Genes that are drawn, whatever their scores."""
        return tuple(dict.fromkeys((*self.map_genes, *self.markers)))

    def open(self, name: str) -> Section:
        """Open a section, if so asked without spots off the tissue.

        Raises
        ------
        UserError
            If it cannot be read, has no counts, or nothing of it is left.
        """
        row = next(row for row in self.rows if row.section == name)
        if row.spots is None:
            raise UserError(f"Section {name} has no spots in the sheet; a comparison needs measured expression.")
        section = row.open(min_umi=self.min_umi)
        try:
            section = self._kept(section)
            names = self.gene_names.get(name, {})
            section = renamed(section, [names.get(gene, gene) for gene in map(str, section.spots.var_names)])
            return with_totals_over(section, self.in_total) if self.in_total else section
        except UserError:
            section.slide.close()
            raise

    def _kept(self, section: Section) -> Section:
        if not section.measured:
            raise UserError(f"Section {section.name} has no counts; a comparison needs measured expression.")
        if section.name not in self.patches:
            return section
        kept = on_tissue(self.patches[section.name], section.spots.obs_names)
        note = f"Left out {count_text(int((~kept).sum()), 'spot', len(kept))}: off the tissue according to HEST."
        return replace(section, spots=section.spots[kept].copy(), notes=(*section.notes, note))


def from_sheet(path: Path, panel: Panel | None = None, min_umi: int = 0) -> Dataset:
    """Return the sections of a sheet as a dataset that is none of the paper's."""
    return Dataset(path.stem, tuple(read_sheet(path)), panel, min_umi=min_umi)
