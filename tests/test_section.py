"""A slide and its spots are checked against each other before anything is computed from them."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import tifffile
from anndata import AnnData
from PIL import Image

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.section import open_section
from napari_cmrcnet.slides.slide import open_slide

WIDTH, HEIGHT = 900, 500


def write_slide(path: Path, mpp: float = 0.5, size=(WIDTH, HEIGHT)) -> Path:
    pixels = np.full((size[1], size[0], 3), 243, np.uint8)
    pixels[size[1] // 8 : -size[1] // 8, size[0] // 8 : -size[0] // 8] = (205, 120, 175)
    if path.suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(
            path, pixels, photometric="rgb", resolution=(1e4 / mpp, 1e4 / mpp), resolutionunit="CENTIMETER"
        )
    return path


def write_spots(path: Path, xy=None, counts=True) -> Path:
    """A square array of 20 × 10 spots over the slide, or positions that are given."""
    row, column = (grid.ravel() for grid in np.mgrid[:10, :20])
    places = np.column_stack([column * 40.0 + 50, row * 40.0 + 50]) if xy is None else xy(row, column)
    obs = pd.DataFrame(
        {"array_row": row, "array_col": column}, index=[f"{c}x{r}" for r, c in zip(row, column, strict=True)]
    )
    matrix = np.full((200, 3), 50, np.int32) if counts else None
    var = pd.DataFrame(index=["A", "B", "C"]) if counts else None
    metadata = {"chemistry_description": "Spatial Transcriptomics", "spot_pitch_um": 20.0}
    entry = {"scalefactors": {"tissue_hires_scalef": 0.2}, "metadata": metadata}
    AnnData(matrix, obs, var, obsm={"spatial": places}, uns={"spatial": {"lib": entry}}).write_h5ad(path)
    return path


def test_a_section_is_its_slide_spots_and_pixel_size(tmp_path):
    slide, spots = write_slide(tmp_path / "S1.tif"), write_spots(tmp_path / "s.h5ad")
    section = open_section(slide, spots, patient="P")
    with section.slide:
        assert (section.name, section.patient, section.measured) == ("S1", "P", True)
        assert section.mpp == pytest.approx(0.5)
        assert "ST lattice" in section.pixel_size.source
        assert section.xy.shape == (200, 2)
        assert section.xy.dtype == np.float64
        assert section.notes == ()


def test_where_spots_come_from_is_kept_with_them_and_their_lattice_is_measured_once(tmp_path, monkeypatch):
    from napari_cmrcnet.sections import pixel_size, spots

    measured = []

    def counted(table):
        measured.append(table)
        return pixel_size.spots_lattice(table)

    monkeypatch.setattr(spots, "spots_lattice", counted)
    path = write_spots(tmp_path / "s.h5ad")
    with (section := open_section(write_slide(tmp_path / "S1.tif"), path)).slide:
        assert (section.origin.source, section.origin.path, section.origin.platform) == ("h5ad", path, "ST")
        assert (section.origin.pitch_um, section.origin.pitch_px) == (20, pytest.approx(40))
        assert section.spot_diameter == pytest.approx(20)  # the file has none: half the pitch
    assert len(measured) == 1
    with (grid := open_section(tmp_path / "S1.tif", mpp=0.5, pitch_um=50.0)).slide:
        assert grid.origin.source == "grid over the tissue"
        assert grid.origin.pitch_px == 100


def test_positions_without_counts_are_a_section_too(tmp_path):
    slide, spots = write_slide(tmp_path / "S1.ome.tif"), write_spots(tmp_path / "s.h5ad", counts=False)
    with open_slide(slide) as opened:
        section = open_section(opened, spots, mpp=0.4)
        assert (section.name, section.measured, section.mpp) == ("S1", False, 0.4)
        assert any("according to the spots' ST lattice" in note for note in section.notes)


@pytest.mark.parametrize("lattice", ["hex", "square"])
def test_without_spots_a_grid_lies_on_the_tissue(tmp_path, lattice):
    section = open_section(write_slide(tmp_path / "S1.tif", size=(3600, 2000)), pitch_um=50, lattice=lattice, name="n")
    with section.slide:
        assert section.name == "n"
        assert not section.measured
        assert section.pixel_size.um == pytest.approx(0.5)
        assert section.spots.n_obs > 100
        assert "grid over the tissue, 50 µm apart" in section.notes[0]


def test_a_few_spots_outside_are_counted(tmp_path):
    slide = write_slide(tmp_path / "S1.tif")
    spots = write_spots(tmp_path / "s.h5ad", xy=lambda r, c: np.column_stack([c, r]) * 40 + [140.5, 50])
    section = open_section(slide, spots)
    with section.slide:
        (note,) = section.notes
        assert note.startswith(f"{spots} has 10 of 200 spots outside {slide}, which has 900 × 500 pixels")


@pytest.mark.parametrize(
    ("xy", "said"),
    [
        (lambda r, c: np.column_stack([r, c]) * 40 + 50.0, "x and y look swapped"),
        (lambda r, c: np.column_stack([c, r]) * 200 + 250.0, r"looks like the image of tissue_hires_scalef \(0\.2\)"),
        (
            lambda r, c: np.column_stack([c, r]) * 2000 + 950.0,
            "may be of another section; .* at least 43.3 times smaller",
        ),
        (lambda r, c: np.column_stack([c, r]) * 40 - 5000.0, "the spots may be of another section; give the slide"),
        (lambda r, c: np.column_stack([c, r]) * 8 + 10.0, "must be in full-resolution pixels"),
    ],
)
def test_spots_in_another_images_pixels_are_refused_with_the_likely_reason(tmp_path, xy, said):
    slide, spots = write_slide(tmp_path / "S1.tif"), write_spots(tmp_path / "s.h5ad", xy=xy)
    with pytest.raises(UserError, match=said) as error:
        open_section(slide, spots)
    assert "S1.tif" in str(error.value)
    assert "s.h5ad" in str(error.value)


def test_an_unknown_pixel_size_is_asked_for(tmp_path):
    slide = write_slide(tmp_path / "S1.png")
    with pytest.raises(UserError, match=r"pixel size of .* is not known"):
        open_section(slide)
    with pytest.raises(UserError, match="impossible"):
        open_section(slide, mpp=-1)


def test_a_real_section(real_data):
    folder = real_data / "her2st"
    section = open_section(folder / "C2.tif", folder / "raw")
    again = open_section(folder / "raw" / "5714_HE_BT_C2.jpg", folder / "C2.h5ad")
    with section.slide, again.slide:
        assert section.mpp == again.mpp == pytest.approx(0.689, abs=0.001)
        assert section.pixel_size.disagreements == again.pixel_size.disagreements == ()
        assert np.array_equal(section.xy, again.xy)


def test_spots_of_one_slide_on_another_are_refused(real_data):
    with pytest.raises(UserError, match=r"has 187 spots outside .*CMU-1"):
        open_section(real_data / "slides" / "CMU-1-Small-Region.svs", real_data / "her2st" / "C2.h5ad")


def test_the_patient_is_what_the_spots_say_unless_given(tmp_path):
    slide, path = write_slide(tmp_path / "S1.tif"), write_spots(tmp_path / "s.h5ad")
    spots = anndata.read_h5ad(path)
    spots.obs["patient"] = "P7"
    spots.write_h5ad(path)
    with open_slide(slide) as opened:
        assert open_section(opened, path).patient == "P7"
        assert open_section(opened, path, patient="P8").patient == "P8"


@pytest.mark.parametrize("nobody", [np.nan, ""])
def test_an_empty_column_names_no_patient(tmp_path, nobody):
    slide, path = write_slide(tmp_path / "S1.tif"), write_spots(tmp_path / "s.h5ad")
    spots = anndata.read_h5ad(path)
    spots.obs["patient"] = nobody
    spots.write_h5ad(path)
    with open_slide(slide) as opened:
        assert open_section(opened, path).patient == ""


def test_a_copy_that_holds_most_of_the_spots_is_refused_by_its_scale_factor(tmp_path):
    spots = write_spots(tmp_path / "s.h5ad", xy=lambda row, column: np.column_stack([column * 225.0, row * 250.0]))
    slide = write_slide(tmp_path / "copy.tif", size=(WIDTH * 4, HEIGHT * 4))
    with open_slide(slide) as opened, pytest.raises(UserError, match="looks like the image of tissue_hires_scalef"):
        open_section(opened, spots)


def test_a_large_picture_without_the_size_of_its_pixels_is_refused_before_it_gets_a_pyramid(tmp_path, monkeypatch):
    path = write_slide(tmp_path / "S1.png")
    spots = write_spots(tmp_path / "s.h5ad")
    table = anndata.read_h5ad(spots)
    table.uns["spatial"]["lib"]["metadata"] = {}  # nothing says the distance of its spots
    table.write_h5ad(spots)
    monkeypatch.setattr("napari_cmrcnet.slides.slide.with_overview", None)
    for given in (None, spots):
        with pytest.raises(UserError, match="not known"):
            open_section(path, given)
