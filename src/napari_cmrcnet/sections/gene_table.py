"""The genes of a file: one column per gene, named by its symbol, whatever the file called and repeated.

Every source of spots goes through `clean_genes`, so that a gene has the same name in each section.
"""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from napari_cmrcnet.common.text import count_text
from napari_cmrcnet.sections.counts import Number, as_counts
from napari_cmrcnet.sections.totals import IN_TOTAL

if TYPE_CHECKING:
    from anndata import AnnData

_ENSEMBL = re.compile(r"ENS[A-Z]*G\d{6,}")
# Columns of symbols as CELLxGENE, scanpy, 10x, BioMart, Seurat and others call them, letters alone and in lower case.
_SYMBOL_COLUMNS = (
    "featurename", "genename", "genenames", "genesymbol", "genesymbols", "symbol", "symbols", "hgncsymbol",
    "externalgenename", "geneshortname", "gene", "name",
)  # fmt: skip
_TYPE_COLUMNS = ("feature_types", "feature_type")
_GENE_TYPE = "Gene Expression"
# Probes and codewords of Xenium, CosMx, MERSCOPE and STARmap that measure background, as the files name them.
_CONTROL = re.compile(
    r"(NegControl|NegPrb|NegProbe|BLANK|Blank-|UnassignedCodeword|DeprecatedCodeword|antisense_|Intergenic"
    r"|SystemControl|FalseCode)|Negative\d*$"
)
# What Python and R write for a missing text, also after anndata made it unique.
_MISSING = re.compile(r"(nan|NaN|None|<NA>|NA)?(-\d+)?")


def clean_genes(spots: "AnnData", normalised: bool = False) -> tuple["AnnData", list[str]]:
    """Return the spots with one column per gene, and notes of what was changed.

    - Controls, and features of another type than gene expression, are dropped.
    - Ids are those of ``gene_ids``, or of the first other column that holds mostly Ensembl ids, whatever its name.
    - Where most names are Ensembl ids, or numbers, symbols come from the column that has them, and Ensembl ids among
      the names become ``gene_ids``. A name that is neither, such as that of a reporter gene, stays, without an id.
    - A gene without a symbol has its id as its name; one without both is dropped.
    - Of genes with one symbol and different ids, that of the lowest id keeps the symbol, and the others have their id
      (without version) added, ``TBCE_ENSG00000284770``, whatever their order in the file.
    - Columns of one gene are added up: of the same symbol and id, or of the same symbol where one has no id. Of
      normalised values, which have no sum, the first is taken.

    Parameters
    ----------
    spots : AnnData
        Counts in ``X`` as CSR (n, columns), ``var`` as the file has it.
    normalised : bool
        Whether these are log-normalised values.

    Returns
    -------
    AnnData
        ``X`` CSR (n, genes), int32, or float32 of normalised values, in the order of the file; ``var`` with unique
        names and, if the file has ids, ``gene_ids`` as text, ``""`` where not known.
    list of str
        One sentence a kind of change.
    """
    from anndata import AnnData

    names, symbols, ids, dropped = _named(spots.var)
    nameless = (names == "").to_numpy() & ~dropped
    unnamed = (symbols == "").to_numpy() & ~dropped
    kept = np.flatnonzero(~dropped & ~nameless)
    place = pd.factorize(names.to_numpy()[kept])[0]  # the gene of each column
    first = np.flatnonzero(~names.iloc[kept].duplicated())  # the column in which each gene is first met
    by_id, shared = unnamed & ~nameless, (names != symbols).to_numpy() & ~unnamed
    renamed = names.iloc[kept[first]][shared[kept[first]]].tolist()
    n, repeated = len(names), len(kept) - len(first)
    columns = count_text(repeated, "column", n)
    changes: dict[str, Any] = {  # what is said, and whether it is so
        f"Dropped {count_text(int(dropped.sum()), 'name', n)}: controls or other features that are not genes.": dropped,
        f"Genes without a symbol: {by_id.sum()}; their ids are their names.": by_id,
        f"Dropped {count_text(int(nameless.sum()), 'column', n)}: neither a name nor an id.": nameless,
        f"Genes that share a symbol with another gene: {len(renamed)}; their ids were added "
        f"({next(iter(renamed), '')}).": len(renamed),
        f"Left out {columns}: repeated genes.": repeated and normalised,
        f"Added the counts of {columns} to the first column of the same gene.": repeated and not normalised,
    }
    notes = [said for said, so in changes.items() if np.any(so)]
    var = spots.var.drop(columns=IN_TOTAL, errors="ignore")  # of a prediction, whose totals were over some genes
    var = var.iloc[kept[first]].set_axis(pd.Index(names.iloc[kept[first]], dtype=object, name=None))
    if (ids != "").any() or "gene_ids" in var:
        var["gene_ids"] = _known_ids(ids.to_numpy()[kept], place, first)
    if normalised:
        kept, place = kept[first], np.arange(len(first))
    counts = _joined(sparse.csr_matrix(spots.X), kept, place, len(first), np.float32 if normalised else np.int32)
    return AnnData(X=counts, obs=spots.obs, var=var, obsm=dict(spots.obsm), uns=spots.uns), notes


def named_genes(var: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the genes of a table of values, as `clean_genes` names those of counts.

    Returns
    -------
    DataFrame
        Unique names, and ``gene_ids`` as text, ``""`` where not known.
    int64 (genes,)
        The column of each. Controls, columns without a name, and a gene's second column are left out.
    """
    names, _, ids, dropped = _named(var)
    kept = np.flatnonzero((names != "").to_numpy() & ~dropped)
    kept = kept[~names.iloc[kept].duplicated().to_numpy()]
    return pd.DataFrame({"gene_ids": ids.to_numpy()[kept]}, index=pd.Index(names.to_numpy()[kept], dtype=object)), kept


def _named(var: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series, np.ndarray]:
    """Return name, symbol and id of each column, ``""`` where there is none, and which are of no gene."""
    raw_names = pd.Series(var.index.astype(str), dtype=object)
    dropped = _is_control(raw_names) | _other_type(var)
    symbols, ids = _symbols_and_ids(var, raw_names, ~dropped)
    dropped |= _is_control(symbols)
    names = symbols.where(symbols != "", ids)
    return _distinct(names, ids, ~dropped & (names != "").to_numpy()), symbols, ids, dropped


def _is_control(names: pd.Series) -> np.ndarray:
    return names.map(lambda name: _CONTROL.match(name) is not None).to_numpy(bool)


def _other_type(var: pd.DataFrame) -> np.ndarray:
    """Return which features are not gene expression; a column that never says so holds something else (biotypes)."""
    for column in _TYPE_COLUMNS:
        if column in var:
            types = _texts(var[column])
            if (types == _GENE_TYPE).any():
                return (~types.isin([_GENE_TYPE, ""])).to_numpy()
    return np.zeros(len(var), dtype=bool)


def _texts(column: pd.Series) -> pd.Series:
    """Return a column as texts, ``""`` where one is missing in any of the ways that files have."""
    texts = column.astype(object).where(column.notna().to_numpy(), "").astype(str).str.strip().reset_index(drop=True)
    return texts.where(~texts.map(lambda text: _MISSING.fullmatch(text) is not None), "").astype(object)


def _is_ensembl(names: pd.Series) -> np.ndarray:
    return names.map(lambda name: _ENSEMBL.match(name) is not None).to_numpy(bool)


def _symbols_and_ids(var: pd.DataFrame, raw_names: pd.Series, genes: np.ndarray) -> tuple[pd.Series, pd.Series]:
    """Return symbols and ids of all columns, ``""`` where there is none."""
    names, ids = _texts(raw_names), _ids(var, genes)
    ensembl, number = _is_ensembl(names), names.str.fullmatch(r"\d+").to_numpy(bool)
    if not genes.any() or (ensembl | number)[genes].mean() <= 0.5:
        return names, ids
    ids = ids.where(_is_ensembl(ids), names.where(ensembl, ""))
    columns = {re.sub("[^a-z]", "", str(column).lower()): column for column in reversed(var.columns)}
    for column in (columns[name] for name in _SYMBOL_COLUMNS if name in columns):
        return _texts(var[column]).where(ensembl | number, names), ids
    return names, ids


def _ids(var: pd.DataFrame, genes: np.ndarray) -> pd.Series:
    """Return the ids of all columns: those called so, or of the first column of texts that are mostly Ensembl ids."""
    if "gene_ids" in var:
        return _texts(var["gene_ids"])
    for column in var.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in var.dtypes]]:
        known = (texts := _texts(var[column]))[genes]
        known = known[known != ""]
        if len(known) and _is_ensembl(known).mean() > 0.5:
            return texts.where(_is_ensembl(texts), "")
    return pd.Series("", index=range(len(var)), dtype=object)


def _distinct(names: pd.Series, ids: pd.Series, kept: np.ndarray) -> pd.Series:
    """Return names in which genes of one symbol and different ids differ."""
    repeated = kept & names.isin(names[kept][names[kept].duplicated()]).to_numpy() & (ids != "").to_numpy()
    if not repeated.any():
        return names
    plain = ids[repeated].map(unversioned)
    other = plain != plain.groupby(names[repeated]).transform("min")
    names = names.copy()
    names.loc[plain.index[other]] += "_" + plain[other]
    return names


def _known_ids(ids: np.ndarray, place: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the first known id of each gene's columns, ``""`` if none has one."""
    known = np.flatnonzero(ids != "")[::-1]
    found = np.full(len(first), "", dtype=object)
    found[place[known]] = ids[known]  # the last that is written is the first in the file
    return found


def _joined(
    counts: sparse.csr_matrix, kept: np.ndarray, place: np.ndarray, n_genes: int, dtype: Number
) -> sparse.csr_matrix:
    """Return the kept columns, those of one gene added up."""
    if len(kept) == counts.shape[1] == n_genes:
        return as_counts(counts, dtype)
    gene_of = sparse.csr_matrix((np.ones(len(kept), dtype), (kept, place)), shape=(counts.shape[1], n_genes))
    return as_counts(counts @ gene_of, dtype)


def unversioned(identifier: str) -> str:
    """Return ``ENSG00000141510`` of ``ENSG00000141510.18``; symbols such as ``RP11-34P13.7`` stay."""
    return identifier.partition(".")[0] if identifier.startswith("ENS") else identifier
