"""Folds: which sections are trained on and which are predicted, with the genes that every method predicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import eq
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.metrics import highest
from napari_cmrcnet.evaluation.picture_file import file_name, file_names
from napari_cmrcnet.sections.expression import expression_of, highly_variable_genes, shared_genes
from napari_cmrcnet.sections.sheet import SheetRow

if TYPE_CHECKING:
    from napari_cmrcnet.sections.section import Section

Kind = Literal["sample", "patient"]
N_VARIABLE, N_EXPRESSED = 1000, 250


@dataclass(frozen=True)
class Fold:
    """One division of the sections.

    Parameters
    ----------
    name : str
        Of its files.
    training, test : tuple of str
        Names of sections.
    genes : tuple of str
        What every method predicts, chosen on the training sections alone.
    variable : tuple of str
        Those of them that are among the 1,000 most variable of a training section: the paper ranks HEG and HVG among
        these.
    leaks : tuple of str
        A sentence for each reason why a test section is not new to what was trained.
    """

    name: str
    training: tuple[str, ...]
    test: tuple[str, ...]
    genes: tuple[str, ...] = ()
    variable: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()


def make_folds(rows: Sequence[SheetRow], kind: Kind) -> list[Fold]:
    """Leave out each section in turn, or each patient with all their sections.

    Parameters
    ----------
    rows : sequence of SheetRow
        The sections.
    kind : {"sample", "patient"}
        What is left out; the paper leaves out a sample.

    Raises
    ------
    UserError
        If nothing would be left to train on, or a patient is not known.
    """
    if len(rows) < 2:
        raise UserError(f"A comparison needs at least two sections, one to train on; there is {len(rows)}.")
    names = [row.section for row in rows]
    if kind == "sample":
        return [
            Fold(file, tuple(other for other in names if other != name), (name,))
            for file, name in zip(file_names(names), names, strict=True)
        ]
    if unknown := [row.section for row in rows if not row.patient]:
        raise UserError(
            f"The patient of {', '.join(unknown)} is not known; name the patient of every section, or make the folds "
            "by sample."
        )
    patients = list(dict.fromkeys(row.patient for row in rows))
    if len(patients) < 2:
        raise UserError(f"All sections are of patient {patients[0]}; folds by patient need two, folds by sample one.")
    folds = []
    for number, patient in enumerate(patients, start=1):
        test = tuple(row.section for row in rows if row.patient == patient)
        training = tuple(name for name in names if name not in test)
        folds.append(Fold(f"{number}_{file_name(patient)}", training, test))
    return folds


Chosen = tuple[frozenset[str], frozenset[str]]
"""A training section's choice of genes: the 1,000 most variable, which are the paper's, and the 250 most expressed.

Those need not vary much: HEG among all genes (``--sets all``) are taken from them.
"""


def genes_of(section: "Section") -> Chosen:
    """Return a training section's choice of genes."""
    names = [str(name) for name in section.spots.var_names]
    mean = np.asarray(expression_of(section.spots, names).mean(axis=0)).ravel()
    return frozenset(highly_variable_genes([section], N_VARIABLE)), frozenset(highest(mean, names, N_EXPRESSED))


def with_genes(
    fold: Fold, sections: "Mapping[str, Section]", chosen: Mapping[str, Chosen], markers: Sequence[str]
) -> Fold:
    """Return the fold with the genes to predict, chosen on its training sections alone.

    Parameters
    ----------
    fold : Fold
        The fold.
    sections : mapping of str to Section
        All sections, by name.
    chosen : mapping of str to Chosen
        What `genes_of` gives for each; the fold has the union over its training sections, of the genes that all of
        them have.
    markers : sequence of str
        Added, where all training sections have them.

    Raises
    ------
    UserError
        If the training sections have no gene in common, or a test section has none of them.
    """
    training = [sections[name] for name in fold.training]
    sets = [chosen[name] for name in fold.training]
    variable = frozenset[str]().union(*(most for most, _ in sets))
    wanted = variable.union(markers, *(expressed for _, expressed in sets))
    genes = tuple(gene for gene in shared_genes(training) if gene in wanted)
    for name in fold.test:
        if not set(genes) & set(sections[name].spots.var_names):
            raise UserError(
                f"Section {name} has none of the genes of the sections trained on; check that all name genes alike "
                "and are of one species."
            )
    return replace(fold, genes=genes, variable=tuple(gene for gene in genes if gene in variable))


def with_leaks(
    fold: Fold, patients: Mapping[str, str], replicates: Sequence[Sequence[str]], contents: Mapping[str, Sequence[str]]
) -> Fold:
    """Return the fold with its leaks.

    Parameters
    ----------
    fold : Fold
        The fold.
    patients : mapping of str to str
        Of each section, ``""`` where it is not known.
    replicates : sequence of sequence of str
        Groups of sections cut from one block.
    contents : mapping of str to sequence
        By section, what is equal where the patches, or the counts, are the same.
    """
    said = []
    for name in fold.test:
        copies = [other for other in fold.training if any(map(eq, contents[other], contents[name]))]
        blocks = [set(group) - {name} for group in replicates if name in group]
        cut = [other for other in fold.training if any(other in block for block in blocks)]
        siblings = [other for other in fold.training if patients[name] and patients[other] == patients[name]]
        if copies:
            said.append(f"{name} has the same content as {_listed(copies)} in training: its scores say nothing.")
        elif cut:
            said.append(f"{name} is cut from the same block as {_listed(cut)} in training: they are nearly copies.")
        elif siblings:
            said.append(
                f"{name} is of the same patient ({patients[name]}) as {_listed(siblings)} in training: its scores are "
                "optimistic for new patients."
            )
        elif unknown := [other for other in (name, *fold.training) if not patients[other]]:
            said.append(
                f"The patient of {_listed(unknown)} is not known. If {name} is of a training patient, its scores are "
                "optimistic."
            )
    return replace(fold, leaks=tuple(said))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(", ".join(names).rsplit(", ", 1))
