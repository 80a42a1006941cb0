"""Counts of the synthetic sections: real gene symbols, invented expression.

Each cell type has a signature over the morphology-driven genes; a spot's expected expression is the mean of
its cells' signatures. The undriven genes have one constant expectation everywhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELL_TYPES = (
    "tumour_high",
    "tumour_low",
    "epithelial",
    "fibroblast",
    "t_cell",
    "b_cell",
    "plasma",
    "macrophage",
    "endothelial",
    "adipocyte",
    "muscle",
    "necrotic",
)

# Well-known markers; a gene may mark several types. The eight IDC markers of the paper are among them:
# MKI67, ERBB2, PRF1, ESR1, PGR, GATA3, AR, EGFR.
MARKERS = {
    "tumour_high": "EPCAM KRT8 KRT18 KRT19 ERBB2 GRB7 STARD3 PGAP3 MIEN1 MKI67 TOP2A BIRC5 CCNB1 CDK1 UBE2C TYMS "
    "PCNA EGFR CD24 MUC1 S100A9 SCD FASN MYC CCNE1 HMGA1",
    "tumour_low": "EPCAM KRT8 KRT18 KRT19 ESR1 PGR GATA3 AR FOXA1 XBP1 TFF1 TFF3 AGR2 AGR3 MLPH CA12 SLC39A6 BCL2 "
    "CCND1 NAT1 STC2 CD24 MUC1 ANKRD30A SCUBE2 SPDEF",
    "epithelial": "EPCAM KRT7 KRT15 KRT5 KRT14 KRT17 KIT ELF5 LTF SLPI PIGR WFDC2 SCGB2A2 SCGB3A1 MMP7 CLDN4 ALDH1A3 "
    "SFRP1 EGFR LCN2 OXTR TP63",
    "fibroblast": "COL1A1 COL1A2 COL3A1 COL5A1 COL6A3 DCN LUM FN1 POSTN SPARC FAP PDGFRA THY1 VCAN BGN CTHRC1 FBLN1 "
    "MMP2 VIM C1R C3 SFRP4",
    "t_cell": "CD3D CD3E CD3G CD2 CD5 CD8A CD8B GZMA GZMK GZMB PRF1 NKG7 CCL5 IL7R LCK TRAC TRBC1 CXCR3 PTPRC CCR7",
    "b_cell": "MS4A1 CD79A CD79B CD19 CD22 BANK1 BLK PAX5 CR2 CXCR5 HLA-DRA CD74 CD37 TCL1A FCER2 SPIB BCL6 AICDA "
    "PTPRC CXCL13 MKI67",
    "plasma": "IGKC IGHG1 IGHG3 IGHA1 IGHM IGLC2 JCHAIN MZB1 DERL3 SDC1 TNFRSF17 PRDM1 FKBP11 SSR4 CD79A CD38 XBP1",
    "macrophage": "CD68 CD163 CD14 LYZ C1QA C1QB C1QC APOE APOC1 MRC1 MSR1 FCGR3A AIF1 TYROBP SPP1 GPNMB CTSD CTSB "
    "HLA-DRA CD74 MARCO",
    "endothelial": "PECAM1 VWF CDH5 CLDN5 KDR FLT1 ENG EMCN ESAM TIE1 TEK PLVAP AQP1 VIM",
    "adipocyte": "ADIPOQ PLIN1 PLIN4 FABP4 LEP LPL CIDEC CIDEA PPARG GPD1 ADH1B CFD SAA1 AQP7 PCK1 LIPE G0S2 CD36",
    "muscle": "ACTA2 MYH11 DES CNN1 TAGLN MYLK ACTG2 LMOD1 SYNPO2 PCP4 CALD1 TPM1 TPM2 MYL9 SMTN FLNC CSRP1",
    "necrotic": "NDRG1 CA9 VEGFA ADM SLC2A1 LDHA ANGPTL4 PDK1 BNIP3 HK2 EGLN3 ERO1A P4HA1 HILPDA FTL S100A8 S100A9",
}

_HOUSEKEEPING = (
    "GAPDH TBP HPRT1 PGK1 PPIA GUSB SDHA UBC YWHAZ RPLP0 RPL13A RPS18 EEF1A1 TFRC ALAS1 HMBS POLR2A PSMB4 RAB7A "
    "REEP5 SNRPD3 VCP VPS29 EMC7 CHMP2A GPI C1orf43 PSMB2 TUBB ATP5F1B NONO IPO8 CYC1 TOP1 UBE2D2 PUM1 RPL30 "
    "RPL37A RPS17 CASC3"
)
UNDRIVEN = tuple(_HOUSEKEEPING.split())

_BACKGROUND = 0.015  # expression of a gene in the cells that it does not mark, relative to those it marks
_SPREAD = 0.4  # of the abundances of genes, in natural logarithms
_UNDRIVEN_SHARE = 0.02  # of a spot's counts: little, so that the most expressed genes are driven ones
_DISPERSION = 0.06  # variance of the gamma factor: counts are negative binomial, variance m + 0.06 m²
_DROPOUT, _DROPOUT_COUNTS = 0.4, 3.0  # probability at no expression, and the counts at which it is a third
_MEDIAN_COUNTS = 8000.0
_ABUNDANCE_SEED = 2024  # signatures are the same in every section of every seed: there is one biology


@dataclass(frozen=True)
class Signatures:
    """What the synthetic cells express.

    Parameters
    ----------
    genes : tuple of str
        Symbols, driven genes first.
    driven : bool (G,)
        Whether a gene follows the cells that are drawn.
    shares : float64 (T, G)
        Expected share of a cell type's counts; every row sums to one, and so does every row's driven part
        to the same value.
    """

    genes: tuple[str, ...]
    driven: NDArray[np.bool_]
    shares: NDArray[np.float64]


def signatures() -> Signatures:
    """Return the signatures of all `CELL_TYPES`, always the same ones."""
    rng = np.random.default_rng(_ABUNDANCE_SEED)
    driven_genes = tuple(dict.fromkeys(gene for kind in CELL_TYPES for gene in MARKERS[kind].split()))
    marks = np.array([[gene in MARKERS[kind].split() for gene in driven_genes] for kind in CELL_TYPES])
    abundance = rng.lognormal(0.0, _SPREAD, len(driven_genes))
    driven = abundance * np.where(marks, rng.uniform(0.6, 1.4, marks.shape), _BACKGROUND)
    undriven = rng.lognormal(0.0, 0.6, len(UNDRIVEN))
    # Both parts have the same sum in every cell type. If they had not, dividing by a spot's total would
    # write the composition into the undriven genes.
    driven *= (1 - _UNDRIVEN_SHARE) / driven.sum(axis=1, keepdims=True)
    undriven *= _UNDRIVEN_SHARE / undriven.sum()
    shares = np.hstack([driven, np.tile(undriven, (len(CELL_TYPES), 1))])
    is_driven = np.arange(shares.shape[1]) < len(driven_genes)
    return Signatures(driven_genes + UNDRIVEN, is_driven, shares)


def draw_counts(composition: NDArray[np.float64], known: Signatures, rng: np.random.Generator) -> NDArray[np.int32]:
    """Draw integer counts for spots of a given composition.

    Gamma-Poisson (negative binomial) counts around ``library size × composition @ shares``, with dropout.
    A spot's library size does not depend on its composition, and the gamma factors leave the driven and the
    undriven part of a spot's expectation as they are: only the driven genes know about the image.

    Parameters
    ----------
    composition : float64 (n, T)
        Fractions of cell types; rows sum to one.
    known : Signatures
        The signatures.
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    int32 (n, G)
        Counts.
    """
    expected = composition @ known.shares
    noisy = expected * rng.gamma(1 / _DISPERSION, _DISPERSION, expected.shape)
    for part in (known.driven, ~known.driven):
        noisy[:, part] *= expected[:, part].sum(1, keepdims=True) / noisy[:, part].sum(1, keepdims=True)
    library = _MEDIAN_COUNTS * rng.lognormal(0.0, 0.35, (len(composition), 1))
    counts = rng.poisson(library * noisy)
    counts[rng.random(counts.shape) < _DROPOUT * np.exp(-library * expected / _DROPOUT_COUNTS)] = 0
    return counts.astype(np.int32)
