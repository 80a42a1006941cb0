"""Inputs that once ended the program, or kept it busy: the smallest of each that `benchmarks.faults` found."""

import json
import struct
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.hdf5 import read_h5ad
from napari_cmrcnet.common.hdf5_checks import check_hdf5
from napari_cmrcnet.common.hdf5_texts import HEAP, check_texts, longest_text
from napari_cmrcnet.retrieval.bank import Bank
from napari_cmrcnet.retrieval.prediction import Prediction
from napari_cmrcnet.sections.geojson import read_geojson
from napari_cmrcnet.sections.sheet import read_sheet
from napari_cmrcnet.sections.spots import open_spots
from napari_cmrcnet.sections.totals import totals_of
from napari_cmrcnet.slides.slide import open_slide

sys.path.insert(0, str(Path(__file__).parent.parent))  # the benchmarks are no part of the package

from benchmarks.faults import bases


def written(folder: Path, files: bases.Files) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("size", [0, 8, 2**40])
def test_hdf5_whose_texts_do_not_follow_each_other(tmp_path: Path, size: int) -> None:
    """HDF5 1.14 never ended: the free rest of a collection takes no room, so that it never came to the end."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["texts"] = ["one", "two"]
    check_hdf5(path)
    content = bytearray(path.read_bytes())
    place = content.index(HEAP) + 16
    while int.from_bytes(content[place : place + 2], "little"):
        place += 16 + -(-int.from_bytes(content[place + 8 : place + 16], "little") // 8) * 8
    content[place + 8 : place + 16] = struct.pack("<Q", size)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.h5 is damaged or cut short \(the texts at byte"):
        check_hdf5(path)


def test_hdf5_with_texts_across_the_blocks_that_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["texts"] = ["one", "two"]
    place = path.read_bytes().index(HEAP)
    path.write_bytes(path.read_bytes()[:place] + HEAP + bytes(8) + path.read_bytes()[place + 16 :])
    for block in range(place - 3, place + 12):
        monkeypatch.setattr("napari_cmrcnet.common.hdf5_texts.BLOCK", block)
        with pytest.raises(UserError, match="do not follow each other"):
            check_hdf5(path)


PACKED = {"chunks": (2,), "compression": "gzip", "shuffle": True}


@pytest.mark.parametrize("version", ["earliest", "v110"])
@pytest.mark.parametrize("block", [0, 512])
@pytest.mark.parametrize("packing", [{}, {"chunks": (2,)}, PACKED])
@pytest.mark.parametrize(("texts", "attribute"), [("ten letter", "one"), ("one", "ten letter")])
def test_the_longest_text_of_an_hdf5_object_is_found(
    tmp_path: Path, texts: str, attribute: str, packing: dict[str, object], block: int, version: str
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=block, libver=(version, "v110")) as file:
        dataset = file.create_dataset("g/texts", data=["two", "two", texts], **packing)
        for index in range(6):  # so that the header is continued elsewhere
            dataset.attrs[f"n{index}"] = np.arange(9)
        dataset.attrs["names"] = ["two", attribute]
    assert longest_text(path) == 10
    with h5py.File(path) as file, open(path, "rb") as stream:
        check_texts(stream, file["g/texts"], 10, block)
        with pytest.raises(ValueError, match="/g/texts claims a text of 10 bytes"):
            check_texts(stream, file["g/texts"], 9, block)


@pytest.mark.parametrize("damaged", ["a text", "an attribute"])
def test_hdf5_with_a_text_that_claims_to_be_longer_than_any(tmp_path: Path, damaged: str) -> None:
    """HDF5 took what one claims, up to 4 GB, before it looked for the text."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver=("earliest", "v110")) as file:
        file["texts"] = ["a text"]
        file["texts"].attrs["a"] = "an attribute"
    check_hdf5(path)
    content = path.read_bytes()
    place = content.index(struct.pack("<IQ", len(damaged), content.index(HEAP)))
    path.write_bytes(content[:place] + struct.pack("<I", 2**31) + content[place + 4 :])
    with pytest.raises(UserError, match=r"a\.h5 is damaged or cut short \(/texts claims a text of 2,147,483,648 bytes"):
        check_hdf5(path)


def test_hdf5_with_a_group_in_itself(tmp_path: Path) -> None:
    """Each reader of ours went round until Python's stack was full."""
    for link, place in (("uns/x", "/"), ("layers/a/b", "layers"), ("obsm/x", "obsm")):
        written(tmp_path, bases.h5ad())
        with h5py.File(tmp_path / "s.h5ad", "r+") as file:
            file.require_group("layers/a")
            file["twice"] = file["layers"]  # which is fine
        check_hdf5(tmp_path / "s.h5ad")
        with h5py.File(tmp_path / "s.h5ad", "r+") as file:
            file[link] = file[place]
        with pytest.raises(UserError, match="in itself"):
            read_h5ad(tmp_path / "s.h5ad")


def test_hdf5_with_lists_of_varying_length(tmp_path: Path) -> None:
    """An attribute that was a text, and by one changed byte a list of numbers, ended the process when it was read."""
    kind = h5py.vlen_dtype(np.int8)
    for name in ("of a group", "of a dataset", "values"):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["x"] = [1]
            if name == "values":
                file.create_dataset("y", (1,), np.dtype([("n", "i4"), ("v", kind)]))
            else:
                item = file if name == "of a group" else file["x"]
                h5py.h5a.create(
                    item.id, b"odd", h5py.h5t.py_create(kind, logical=True), h5py.h5s.create(h5py.h5s.SCALAR)
                )
        with pytest.raises(UserError, match="lists of varying length"):
            check_hdf5(tmp_path / "a.h5")


def test_a_matrix_of_10x_with_damaged_attributes(tmp_path: Path) -> None:
    files = bases.space_ranger()
    name = "filtered_feature_bc_matrix.h5"
    content = bytearray(files[name])
    texts = content.index(HEAP)
    place = content.index(struct.pack("<IQ", len("Visium V4 Slide"), texts))  # length, collection, number
    content[place + 12 : place + 16] = struct.pack("<I", 2**31)
    written(tmp_path, files | {name: bytes(content)})
    with pytest.raises(UserError, match="is not a readable count matrix of 10x Genomics"):
        open_spots(tmp_path)


@pytest.mark.parametrize("side", [np.inf, np.nan, -np.inf])
def test_a_sparse_matrix_with_an_impossible_side(tmp_path: Path, side: float) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        for name, values in (("indptr", [0, 1]), ("indices", [0]), ("data", [1]), ("shape", [side, 1.0])):
            matrix[name] = values
    with pytest.raises(UserError, match=r"a\.h5 is damaged or cut short \(cannot convert float"):
        check_hdf5(path)


def test_a_sheet_whose_slide_has_a_name_that_no_system_takes(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(f"section,slide,spots,patient\nA,{'ü' * 300},,\n")
    with pytest.raises(UserError, match="does not exist"):
        read_sheet(tmp_path / "s.csv")


def test_a_dicom_level_that_its_file_cannot_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its overview was put together from four billion empty rows."""
    monkeypatch.setenv("CMRCNET_CACHE", str(tmp_path / "cache"))
    files = bases.dicom()
    rows = struct.pack("<HH2sHI", 0x0048, 0x0007, b"UL", 4, 64)
    assert rows in files["1.dcm"]
    files["1.dcm"] = files["1.dcm"].replace(rows, rows[:8] + struct.pack("<I", 2**29))
    folder = written(tmp_path / "slide", files)
    with pytest.raises(UserError, match=r"claims 64 × 536870912 pixels in 8 kB, which no slide takes"):
        open_slide(folder)


def test_an_ome_zarr_level_that_its_chunks_cannot_hold(tmp_path: Path) -> None:
    """What is not stored is made up from nothing, however large."""
    files = bases.ome_zarr()
    about = json.loads(files["3.zarr/0/zarr.json"])
    about["shape"] = [3, 2**19, 2**19]
    folder = written(tmp_path, files | {"3.zarr/0/zarr.json": json.dumps(about).encode()})
    with pytest.raises(UserError, match=r"claims 524288 × 524288 pixels in \d+ kB, which no slide takes"):
        open_slide(folder / "3.zarr")


@pytest.mark.parametrize(
    ("place", "values", "words"),
    [
        ("obsm/spatial", np.full((16, 2), b"x"), "positions that are not two finite numbers per spot"),
        ("obsm/spatial", np.zeros((16, 3)), "positions that are not two finite numbers per spot"),
        ("obsm/spatial", np.full((16, 2), np.inf), "positions that are not two finite numbers per spot"),
        ("raw/X/data", -np.ones(1, np.float32), "its raw holds negative values"),
    ],
)
def test_a_prediction_with_impossible_positions_or_counts(
    prediction_files: bases.Files, tmp_path: Path, place: str, values: np.ndarray, words: str
) -> None:
    folder = written(tmp_path, prediction_files)
    Prediction.load(folder / "p.h5ad")
    with h5py.File(folder / "p.h5ad", "r+") as file:
        attributes, old = dict(file[place].attrs), file[place][()]
        del file[place]
        file[place] = values if place != "raw/X/data" else np.where(np.arange(len(old)) == 3, values[0], old)
        file[place].attrs.update(attributes)
    with pytest.raises(UserError, match=words):
        Prediction.load(folder / "p.h5ad")


@pytest.fixture(scope="module")
def prediction_files() -> bases.Files:
    return bases.checkpoint()


@pytest.mark.parametrize(("indices", "indptr"), [(np.uint64, np.int32), (np.int64, np.int32), (np.uint32, np.uint32)])
def test_indices_of_other_kinds_than_scipys_are_read(tmp_path: Path, indices: type, indptr: type) -> None:
    """SciPy takes no product with them."""
    counts = sparse.csr_matrix(np.arange(12).reshape(4, 3))
    path = tmp_path / "s.h5ad"
    table = AnnData(counts.astype(np.float32), obsm={"spatial": np.array([[0, 0], [100, 0], [0, 100], [100, 100.0]])})
    table.raw = table.copy()
    table.write(path)
    with h5py.File(path, "r+") as file:
        for matrix in (file["X"], file["raw/X"]):
            for name, kind in (("indices", indices), ("indptr", indptr)):
                values = matrix[name][()]
                del matrix[name]
                matrix.create_dataset(name, data=values.astype(kind))
    assert read_h5ad(path).raw.X.sum() == counts.sum()
    assert (read_h5ad(path).raw.X @ np.ones(3)).sum() == counts.sum()
    np.testing.assert_array_equal(totals_of(open_spots(path)), counts.toarray().sum(axis=1))


def categories_of_pairs(path: Path, column: str) -> None:
    """Change the categories of a column as a damaged file has them: pandas makes no texts of them."""
    with h5py.File(path, "r+") as file:
        about = dict(file[f"{column}/categories"].attrs)
        number = len(file[f"{column}/categories"])
        del file[f"{column}/categories"]
        pairs = [[str(i), ""] for i in range(number)]
        file[column].create_dataset("categories", data=pairs, dtype=h5py.string_dtype()).attrs.update(about)


def test_a_category_of_pairs_tells_no_sections_apart(tmp_path: Path) -> None:
    obs = pd.DataFrame({"batch": pd.Categorical(["x"] * 4)}, index=list("abcd"))
    xy = np.array([[0, 0], [100, 0], [0, 100], [100, 100.0]])
    path = tmp_path / "s.h5ad"
    AnnData(sparse.csr_matrix(np.ones((4, 3), np.float32)), obs=obs, obsm={"spatial": xy}).write(path)
    categories_of_pairs(path, "obs/batch")
    assert open_spots(path).n_obs == 4


def with_a_third_dimension(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        values, about = file[name][()], dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=np.stack([values, values], axis=-1)).attrs.update(about)


def test_counts_of_three_dimensions_are_left_out(tmp_path: Path) -> None:
    path, xy = tmp_path / "s.h5ad", np.array([[0, 0], [100, 0], [0, 100], [100, 100.0]])
    counts = np.ones((4, 3), np.float32)
    AnnData(counts, obsm={"spatial": xy}, layers={"counts": 2 * counts}).write(path)
    assert open_spots(path).X.sum() == 24
    with_a_third_dimension(path, "layers/counts")
    assert open_spots(path).X.sum() == 12


def test_a_prediction_of_three_dimensions(tmp_path: Path, prediction_files: bases.Files) -> None:
    folder = written(tmp_path, prediction_files)
    with_a_third_dimension(folder / "p.h5ad", "layers/predicted")
    with pytest.raises(UserError, match="not a complete prediction: it lacks layers"):
        Prediction.load(folder / "p.h5ad")


@pytest.mark.parametrize("column", ["section", "patient"])
def test_a_bank_with_categories_of_pairs(tmp_path: Path, prediction_files: bases.Files, column: str) -> None:
    path = written(tmp_path, {"bank.h5ad": prediction_files["m.cmrcnet/bank.h5ad"]}) / "bank.h5ad"
    Bank.load(path)
    categories_of_pairs(path, f"obs/{column}")
    with suppress(UserError):
        Bank.load(path)


def test_the_thumbnail_of_a_very_wide_picture_takes_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_cmrcnet.slides.flat_source.SHOWN_PIXELS", 2**40)  # as it is, without lower levels
    picture = np.full((255, 65_376, 3), 200, np.uint8)
    png = imagecodecs.png_encode(picture, level=1)
    with open_slide(written(tmp_path, {"a.png": png}) / "a.png") as slide:
        slide.read_region(0, 0, 9, 9)  # decodes it: 50 MB
        assert peak(lambda: slide.thumbnail(512)) < 100e6  # 200 MB of pixels as floating-point numbers, made at once


def test_outlines_that_cross_themselves_take_little_memory(tmp_path: Path) -> None:
    corners = (np.random.default_rng(0).random((9000, 2)) * 1000).round(2).tolist()
    outline = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps({"type": "Feature", "geometry": outline, "properties": {}}))

    def read() -> None:
        with pytest.raises(UserError, match="crosses itself more often"):
            read_geojson(path)

    assert peak(read) < 100e6  # 40 million pairs of edges cross: 640 MB


def peak(act: Callable[[], object]) -> float:
    """Return how many bytes something takes at most."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
