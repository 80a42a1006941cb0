"""A gene is what its Ensembl id says, in whatever file, under whatever name."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from napari_cmrcnet.benchmark.dataset import Dataset
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.retrieval.build_bank import build_bank
from napari_cmrcnet.retrieval.genes import GeneNames
from napari_cmrcnet.sections.gene_joining import match_genes, with_common_names
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.fit import fit

A, B, C, D = (f"ENSG{number:011d}" for number in range(4))


def match(own: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    places = match_genes(list(own), list(own.values()), list(other), list(other.values()))
    return {name: list(other)[place] for name, place in zip(own, places, strict=True) if place >= 0}


def test_genes_with_one_id_are_the_same_whatever_their_names_and_versions() -> None:
    assert match({"TBCE": f"{A}.3", "OLD": B}, {"NEW": f"{B}.7", "TBCE-1": A}) == {"TBCE": "TBCE-1", "OLD": "NEW"}


def test_genes_with_two_ids_are_not_the_same_whatever_their_names() -> None:
    assert match({"TBCE": A}, {"TBCE": B}) == {}
    assert match({"TBCE": A, "TBCE-1": B}, {"TBCE": B, "TBCE-1": A}) == {"TBCE": "TBCE-1", "TBCE-1": "TBCE"}


def test_an_id_that_two_genes_of_a_file_have_goes_to_the_first() -> None:
    assert match({"CD99": f"{A}.20", "CD99_PAR_Y": f"{A}.20_PAR_Y"}, {"CD99": A}) == {"CD99": "CD99"}
    assert match({}, {"CD99": A}) == {}


def test_without_an_id_on_either_side_the_symbol_decides_spelled_just_so() -> None:
    assert match({"ERBB2": A, "GFP": ""}, {"ERBB2": "", "GFP": ""}) == {"ERBB2": "ERBB2", "GFP": "GFP"}
    assert match({"ERBB2": ""}, {"Erbb2": ""}) == {}
    assert match({"TBCE": "", "TBCE2": A}, {"TBCE": A}) == {"TBCE2": "TBCE"}  # the id has it already


def test_an_alias_that_means_one_gene_joins_where_neither_side_has_the_others_name() -> None:
    assert match({"HER2": ""}, {"ERBB2": A}) == {"HER2": "ERBB2"}
    assert match({"ERBB2": A}, {"HER2": ""}) == {"ERBB2": "HER2"}
    assert match({"HER2": "", "ERBB2": ""}, {"ERBB2": ""}) == {"ERBB2": "ERBB2"}
    assert match({"Her2": ""}, {"ERBB2": ""}) == {}  # a mouse's
    assert match({"CD3": ""}, {"CD3E": "", "CD3D": ""}) == {}  # it means three


@dataclass(frozen=True)
class Spots:
    """A section as far as its genes go."""

    name: str
    spots: AnnData
    notes: tuple[str, ...] = ()


def section(name: str, genes: dict[str, str]) -> Spots:
    var = pd.DataFrame({"gene_ids": list(genes.values())}, index=list(genes))
    return Spots(name=name, spots=AnnData(np.arange(2 * len(genes), dtype=np.float32).reshape(2, -1), var=var))


def test_all_sections_call_a_gene_as_the_first_does() -> None:
    first = section("S1", {"TBCE": A, "X": B})
    second = section("S2", {"TBCE": C, "TBCE_old": f"{A}.2", "Y": "", "X": B})
    third = section("S3", {"Y": D, "W": C})
    one, two, three = with_common_names([first, second, third])
    assert one is first
    assert list(two.spots.var_names) == [f"TBCE_{C}", "TBCE", "Y", "X"]
    assert list(three.spots.var_names) == ["Y", f"TBCE_{C}"]
    np.testing.assert_array_equal(two.spots.X, second.spots.X)
    assert list(second.spots.var_names) == ["TBCE", "TBCE_old", "Y", "X"]


def test_predictions_are_compared_with_the_gene_of_the_same_id() -> None:
    bank, measured = GeneNames(("TBCE", "OLD"), (A, B)), GeneNames(("TBCE", "NEW", "TBCE-1"), (C, B, A))
    assert bank.places_in(measured).tolist() == [2, 1]


def test_a_training_joins_sections_by_ids(tmp_path, write_section, open_small) -> None:
    paths = {name: write_section(tmp_path, name, seed) for seed, name in enumerate("AB", start=1)}
    for name, (_, spots) in paths.items():
        table = anndata.read_h5ad(spots)
        table.var["gene_ids"] = [f"ENSG{number:011d}.{1 if name == 'A' else 2}" for number in range(24)]
        if name == "B":  # two genes have exchanged their names, one was renamed
            table.var_names = ["GENE1", "GENE0", "RENAMED", *table.var_names[3:]]
        table.write_h5ad(spots)
    sections = [open_small(*paths[name], name=name, patient=name) for name in "AB"]
    sizes: dict[str, Any] = {"epochs": 1, "batch_size": 16, "patch": PatchSpec(28, 0.5)}
    config = FitConfig(preset="tiny", variant="paper", device="cpu", thumbnails=False, **sizes)
    bank = finish(fit(sections, config, tmp_path / "m.cmrcnet")).bank
    assert bank.genes == tuple(f"GENE{i}" for i in range(24))
    counts = sections[1].spots.X.toarray()
    of_b = (bank.obs["section"] == "B").to_numpy()
    first = bank.expression[:, 0].toarray().ravel()[of_b]
    # The ids did not move with the names: the first column of B is GENE0, whatever it is called there.
    np.testing.assert_allclose(first, np.log1p(counts[:, 0] / counts.sum(axis=1) * 1e4), rtol=1e-5)


def test_a_benchmark_opens_each_section_with_the_common_names() -> None:
    dataset = Dataset("d", ())
    first, second = section("S1", {"TBCE": A}), section("S2", {"OLD": f"{A}.2", "X": B})
    joined, named = dataset.joined([first, second])
    assert list(named[1].spots.var_names) == ["TBCE", "X"]
    assert joined.gene_names == {"S1": {}, "S2": {"OLD": "TBCE"}}


def test_a_bank_knows_an_id_that_only_a_later_section_has() -> None:
    """Else a section that calls the gene otherwise would not find it by its id."""

    class Model(torch.nn.Module):
        def embed_genes(self, expression: torch.Tensor) -> torch.Tensor:
            return expression

    def measured(name: str, genes: dict[str, str]) -> SimpleNamespace:
        found = section(name, genes).spots
        return SimpleNamespace(name=name, patient="", spots=found, xy=np.zeros((2, 2)))

    first, second = measured("S1", {"TBCE": "", "X": B}), measured("S2", {"TBCE": A, "X": B})
    bank = build_bank(Model(), [first, second], ["TBCE", "X"])  # type: ignore[arg-type, list-item]
    assert bank.gene_ids == (A, B)
    assert GeneNames(("OLD",), (A,)).places_in(bank.names).tolist() == [0]
