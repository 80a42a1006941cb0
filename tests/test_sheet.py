"""A sheet of sections: every error names the sheet and the line."""

import os
from pathlib import Path

import pytest

from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.sheet import SheetRow, read_sheet

HEADER = "section,slide,spots,patient"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("a.tif", "b.tif", "a.h5ad"):
        (tmp_path / "data" / name).touch()
    return tmp_path


def sheet(folder: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path = folder / "sheet.csv"
    path.write_text("\n".join(lines) + "\n", encoding)
    return path


def test_paths_are_relative_to_the_sheet_and_spots_and_patient_may_be_empty(folder):
    path = sheet(folder, HEADER, "A, data/a.tif ,data/a.h5ad,P1", "", "B,data/b.tif,,", encoding="utf-8-sig")
    data = folder / "data"
    assert read_sheet(path) == [
        SheetRow("A", data / "a.tif", data / "a.h5ad", "P1"),
        SheetRow("B", data / "b.tif", None, ""),
    ]


def test_a_column_may_name_the_section_of_a_file_that_holds_several(folder):
    path = sheet(folder, f"{HEADER},library", "A,data/a.tif,data/a.h5ad,P1,left", "B,data/b.tif,,,")
    rows = read_sheet(path)
    assert [row.library for row in rows] == ["left", ""]
    with pytest.raises(UserError, match="line 2: the library 'left' is a part of"):
        read_sheet(sheet(folder, f"{HEADER},library", "A,data/a.tif,,P1,left"))


def test_columns_may_come_in_any_order_and_paths_may_be_absolute(folder):
    path = sheet(folder, "patient,section,spots,slide", f'P,"A, left",,{folder / "data" / "a.tif"}')
    assert read_sheet(path) == [SheetRow("A, left", folder / "data" / "a.tif", None, "P")]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["section,slide,spot,patient", "A,data/a.tif,,"],
            "line 1: the column spots is missing; it must",
        ),
        (["section,slide,spots", "A,data/a.tif,"], "line 1: the column patient is missing"),
        (["section;slide;spots;patient"], "lists no section"),
        (["section slide spots patient"], "line 1: the column section is missing"),
        ([HEADER], "lists no section"),
        ([""], "is empty"),
        ([HEADER, "A,data/a.tif,,", "", "a,data/b.tif,,"], "line 4: the section a repeats that of line 2"),
        ([HEADER, "A,data/c.tif,,"], r"line 2: .*data/c\.tif does not exist"),
        ([HEADER, "A,data/a.tif,data/c.h5ad,"], r"line 2: .*data/c\.h5ad does not exist"),
        ([HEADER, "A,data/a.tif,,", ",data/b.tif,,"], "line 3: the section is empty"),
        ([HEADER, "A,,,"], "line 2: the slide is empty"),
        ([HEADER, "A,data/a.tif,"], "line 2: 3 values for 4 columns"),
        ([HEADER, "../A,data/a.tif,,"], "line 2: the section '../A' cannot name a file"),
        ([HEADER, "CON,data/a.tif,,"], "line 2: the section 'CON' cannot name a file"),
        ([HEADER, "lpt1.old,data/a.tif,,"], "cannot name a file"),
        ([HEADER, "A\u202efit.exe,data/a.tif,,"], r"line 2: the section 'A\\u202efit\.exe' cannot name a file"),
        ([HEADER, "A\x1b]0;x,data/a.tif,,"], "cannot name a file"),
        ([HEADER, f"{300 * 'A'},data/a.tif,,"], "cannot name a file"),
        ([HEADER, f"A,{200_000 * 'a'},,"], "is not a readable CSV file"),
    ],
)
def test_a_wrong_sheet_is_refused_with_its_line(folder, lines, said):
    with pytest.raises(UserError, match=said) as error:
        read_sheet(sheet(folder, *lines))
    assert "sheet.csv" in str(error.value)


def test_a_file_that_is_no_sheet_is_refused(folder):
    with pytest.raises(UserError, match=r"none\.csv does not exist"):
        read_sheet(folder / "none.csv")
    (folder / "sheet.csv").write_bytes(b"\x89PNG\xff\xfe\x00")
    with pytest.raises(UserError, match="not a readable CSV"):
        read_sheet(folder / "sheet.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_sheets_as_spreadsheets_save_them(folder, encoding, separator):
    patient = "P" if separator == "," else "P,1"
    rows = [["Section", "slide", "spots", "patient", "", ""], ["Drüse", "data/a.tif", "", patient, "", ""]]
    path = sheet(folder, *(separator.join(row) for row in rows), separator * 5, encoding=encoding)
    assert read_sheet(path) == [SheetRow("Drüse", folder / "data" / "a.tif", None, patient)]


def test_a_workbook_is_named(folder):
    (folder / "sheet.xlsx").write_bytes(b"PK")
    with pytest.raises(UserError, match="save the sheet as CSV"):
        read_sheet(folder / "sheet.xlsx")


def test_a_row_opens_its_section(real_data, tmp_path):
    row = f"left,{real_data}/her2st/C2.tif,{real_data}/her2st/C2.h5ad,C"
    (opened,) = (row.open(min_umi=100) for row in read_sheet(sheet(tmp_path, HEADER, row)))
    with opened.slide:
        assert (opened.name, opened.patient, opened.spots.n_obs) == ("left", "C", 185)


def test_a_fifth_column_gives_the_size_of_a_pixel(folder):
    path = sheet(folder, f"{HEADER},mpp", "A,data/a.tif,,,0.25", "B,data/b.tif,,,")
    assert [row.mpp for row in read_sheet(path)] == [0.25, None]
    with pytest.raises(UserError, match="line 2: the mpp 'half' is not a number"):
        read_sheet(sheet(folder, f"{HEADER},mpp", "A,data/a.tif,,,half"))


@pytest.mark.parametrize(("name", "kind"), [("a.tif", "slide"), ("s.h5ad", "file of spots"), ("", "folder")])
def test_what_is_given_in_place_of_a_sheet_is_named(tmp_path, name, kind):
    if name:
        (tmp_path / name).write_bytes(b"\0")
    with pytest.raises(UserError, match=f"is a {kind}, not a sheet; give a CSV file with the columns section,slide"):
        read_sheet(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on Windows")
@pytest.mark.timeout(60)
def test_a_named_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "sections.csv")
    with pytest.raises(UserError, match=r"sections\.csv is a pipe or device, not a sheet; give a CSV file"):
        read_sheet(tmp_path / "sections.csv")
