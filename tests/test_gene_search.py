"""Genes are found by the names that pathologists type, and a panel of them is kept in a text file."""

import json
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.retrieval.genes import GeneNames, Match
from napari_cmrcnet.sections.gene_aliases import aliases_by_symbol, fold, symbols_of
from napari_cmrcnet.sections.panels import Panel, load_panel, save_panel

SYMBOLS = ("ARHGEF1", "ERBB2", "CD80", "CD8B", "CD8A", "AR", "HLA-DRA", "NKX2-1", "TTF1", "IFNG", "CDH1", "CDH11")
NAMES = GeneNames(SYMBOLS, [f"ENSG{i:011}" for i in range(len(SYMBOLS))])


def found(text: str, names: GeneNames = NAMES) -> list[str]:
    matches, _ = names.search(text)
    return [names.symbols[place] for place in np.argsort(matches, kind="stable") if matches[place] < Match.NONE]


@pytest.mark.parametrize(
    ("typed", "symbols"),
    [
        ("HER2", ("ERBB2",)),
        ("ki-67", ("MKI67",)),
        ("Ki67", ("MKI67",)),
        ("PDL1", ("CD274",)),
        ("pd-l1", ("CD274",)),
        ("ER", ("ESR1",)),
        ("PR", ("PGR",)),
        ("CD20", ("MS4A1",)),
        ("ck 7", ("KRT7",)),
        ("p53", ("TP53",)),
        ("p63", ("TP63",)),
        ("SMA", ("ACTA2",)),
        ("α-SMA", ("ACTA2",)),
        ("e-cadherin", ("CDH1",)),
        ("Melan A", ("MLANA",)),
        ("S100", ("S100B", "S100A1")),
        ("CD8", ("CD8A", "CD8B")),
        ("CD3", ("CD3D", "CD3E", "CD3G")),
        ("c-KIT", ("KIT",)),
        ("β-catenin", ("CTNNB1",)),
        ("IFN-γ", ("IFNG",)),
        ("TTF-1", ("NKX2-1",)),
        ("TP53", ()),
        ("", ()),
    ],
)
def test_aliases_are_what_pathologists_mean(typed: str, symbols: tuple[str, ...]) -> None:
    assert symbols_of(typed) == symbols


def test_no_two_aliases_are_the_same_but_for_spelling() -> None:
    table = json.loads(files("napari_cmrcnet.sections").joinpath("gene_aliases.json").read_text("utf-8"))
    assert len({fold(name) for name in table}) == len(table)
    assert all(symbols and symbol == symbol.strip() for symbols in table.values() for symbol in symbols)
    assert "HER2" in aliases_by_symbol()["ERBB2"]


def test_the_best_match_comes_first() -> None:
    assert found("ar") == ["AR", "ARHGEF1"]
    assert found("CD8") == ["CD8B", "CD8A", "CD80"]  # CD8 means both chains; CD80 only begins so
    assert found("dr") == ["HLA-DRA"]
    assert found("cdh1") == ["CDH1", "CDH11"]
    assert found("zzz") == found("-") == found(" ") == []


def test_an_alias_says_which_gene_it_is() -> None:
    matches, aliases = NAMES.search("her2")
    assert aliases == {1: "HER2"}
    assert matches.tolist() == [Match.NONE, Match.ALIAS] + 10 * [Match.NONE]
    assert NAMES.search("e-cad")[1] == {10: "E-cadherin"}
    assert not NAMES.search("CD8")[1]  # the symbols tell themselves


def test_a_symbol_that_is_also_an_alias_comes_before_what_it_may_mean() -> None:
    assert found("ttf-1") == ["TTF1", "NKX2-1"]


@pytest.mark.parametrize("typed", ["ENSG00000000009", "ensg00000000009.12", " ENSG00000000009 "])
def test_ensembl_ids_are_found_with_and_without_version(typed: str) -> None:
    assert found(typed) == ["IFNG"]
    assert found(typed, GeneNames(SYMBOLS, [f"ENSG{i:011}.3" for i in range(12)])) == ["IFNG"]


def test_hyphens_dots_and_case_do_not_matter() -> None:
    assert found("hladra") == found("HLA DRA") == ["HLA-DRA"]
    assert found("nkx2.1") == ["NKX2-1"]
    assert found("erbb2", GeneNames(["Erbb2"], [""])) == ["Erbb2"]  # a mouse gene
    assert found("HER2", GeneNames(["Erbb2"], [""])) == ["Erbb2"]


def test_odd_names_do_not_shift_the_others() -> None:
    names = GeneNames(["A\nB", "-", "", "µ1", "TP53"], [""] * 5)
    assert found("ab", names) == ["A\nB"]
    assert found("tp53", names) == ["TP53"]
    assert found("x", GeneNames([], [])) == []


def test_36000_genes_are_searched_in_10_ms() -> None:
    names = GeneNames([f"GENE{i}" for i in range(36_000)], [f"ENSG{i:011}" for i in range(36_000)])
    names.search("A")
    for typed in ("g", "GENE1", "ENSG0000", "e-cadherin", "77"):
        times = []
        for _ in range(5):
            start = time.thread_time()
            names.search(typed)
            times.append(time.thread_time() - start)
        assert min(times) < 0.010


def test_a_gene_that_is_asked_for_by_an_alias_is_suggested() -> None:
    with pytest.raises(UserError, match="has no gene CD8; CD8 is CD8A or CD8B here"):
        NAMES.columns(["CD8"], "The checkpoint")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("HER2", "ERBB2"), ("her-2", "ERBB2"), ("erbb2", "ERBB2"), ("TTF1", "TTF1"), ("TTF-1", "NKX2-1"), ("CD8", None)],
)
def test_a_list_may_use_the_names_that_people_have_for_genes(written: str, meant: str | None) -> None:
    column = NAMES.column(written)
    assert (None if column is None else NAMES.symbols[column]) == meant


def test_a_panel_says_what_is_taken_for_what_and_what_is_not_there() -> None:
    panel = Panel("mine", ("HER2", "CD80", "cdh2", "ERBB2"), ("HER2",))
    said = NAMES.check_panel(panel, "The checkpoint")
    assert said == [
        "Genes of the panel “mine” were found under other names: HER2 as ERBB2.",
        "The checkpoint lacks 1 of 4 genes of the panel “mine”: cdh2; names similar to cdh2 are CDH1.",
    ]
    assert NAMES.with_these(panel) == Panel("mine", ("ERBB2", "CD80", "cdh2"), ("ERBB2",))
    assert NAMES.with_these(Panel("mine", ("CD80",), ("HER2",))).down == ("ERBB2",)  # of a file that was changed
    with pytest.raises(UserError, match=r"lacks 1 gene of the panel “none”: cdh2; names similar to cdh2 are"):
        NAMES.check_panel(Panel("none", ("cdh2",)), "The checkpoint")
    assert NAMES.check_panel(None, "The checkpoint") == []


def test_a_panel_of_human_genes_says_so_of_mouse_genes() -> None:
    mouse = GeneNames(("Erbb2", "Mki67", "Gapdh", "Pgr"), ("",) * 4)
    assert (NAMES.species, mouse.species, GeneNames(("1", "2"), ("", "")).species) == ("human", "mouse", "")
    assert GeneNames(("a", "b"), ("ENSMUSG00000000001", "ENSMUSG00000000002")).species == "mouse"
    (said,) = mouse.taken_for(Panel("mine", ("ERBB2", "MKI67")))
    assert said == ("The panel “mine” has human genes; mouse genes are used instead: ERBB2 as Erbb2, MKI67 as Mki67.")


def test_a_panel_is_read_as_it_was_saved(tmp_path: Path) -> None:
    panel = Panel("breast", ("ERBB2", "HLA-DRA", "AC0012.3"))
    save_panel(panel, tmp_path / "new" / "breast.txt")
    assert load_panel(tmp_path / "new" / "breast.txt") == panel


def test_what_a_text_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot hold the gene 'A;B'"):
        save_panel(Panel("odd", ("TP53", "A;B")), tmp_path / "odd.txt")
    with pytest.raises(UserError, match=r"ends in \.txt"):
        save_panel(Panel("table", ("TP53",)), tmp_path / "table.csv")
    assert not list(tmp_path.iterdir())
