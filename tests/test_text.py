"""Names from files are shown as they are, and do nothing: in a terminal, in Markdown and in a figure."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from napari_cmrcnet.cli import console
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.common.text import count_text, figure_gene, figure_text, markdown_text, printable
from napari_cmrcnet.sections.panels import load_panel

HOSTILE = ("$x$", "a|b<script>alert(1)</script>", "\x1b]0;x\x07", "a\u202eb", "[/red]x", "$\\frac$", "x\ry", "\ud800")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("HER2 (ERBB2), 5 µm – naïve ☂", "HER2 (ERBB2), 5 µm – naïve ☂"),
        ("\x1b]0;x\x07", r"\x1b]0;x\x07"),
        ("a\u202eb\u2066c\u200fd", r"a\u202eb\u2066c\u200fd"),
        ("one\ntwo\u2028three", r"one\ntwo\u2028three"),
        ("\x9b31m", r"\x9b31m"),  # the one letter for what \x1b[ begins
        ("\ud800", r"\ud800"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable("one\ntwo", lines=True) == "one\ntwo"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("MT-CO1, C1orf112 and V1_Breast", "MT-CO1, C1orf112 and V1_Breast"),
        ("H&E &amp; <b>", "H&E &amp;amp; &lt;b&gt;"),
        ("a|b", r"a\|b"),
        ("[x](http://y)", r"\[x\](http://y)"),
        ("*a* _b_ `c` ~d~ $e$", r"\*a\* \_b\_ \`c\` &#126;d&#126; &#36;e&#36;"),
        ("# x", r"\# x"),
        ("1. x", r"1\. x"),
        ("- x", r"\- x"),
        ("one\n\n# two", r"one\\n\\n# two"),
    ],
)
def test_markdown_is_escaped(text: str, written: str) -> None:
    assert markdown_text(text) == written


@pytest.mark.parametrize(
    ("number", "of", "said"),
    [
        (0, None, "0 spots"),
        (1, None, "1 spot"),
        (4992, None, "4,992 spots"),
        (1, 1, "1 spot"),
        (1, 312, "1 of 312 spots"),
        (0, 1, "0 of 1 spot"),
        (4992, 4992, "4,992 spots"),
        (1179, 4992, "1,179 of 4,992 spots"),
    ],
)
def test_one_is_not_many(number: int, of: int | None, said: str) -> None:
    assert count_text(number, "spot", of) == said


@pytest.mark.parametrize("name", HOSTILE)
def test_every_name_can_be_drawn(name: str) -> None:
    from matplotlib.figure import Figure

    for text in (figure_text(name), figure_gene(name), f"{figure_gene('HLA-A')} {figure_text(name)}"):
        figure = Figure()
        figure.suptitle(text)
        for kind in ("png", "svg"):
            figure.savefig(io.BytesIO(), format=kind)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_reaches_the_terminal_as_a_control_code_or_as_markup(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.StringIO()
    for of in ("output", "errors"):
        monkeypatch.setattr(console, of, Console(file=written, width=200, color_system=None, soft_wrap=True))
    console.show_table(f"Table of {name}", ["gene", name], [[name, "0.5"]])
    console.show_facts(name, {name: name})
    console.say(name)
    console.warn(name)
    console.complain(name)
    shown = written.getvalue()
    assert not [each for each in shown if not each.isprintable() and each != "\n"]
    assert shown.count(printable(name)) == 9


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"\x1f\x8b\x08ABC"])
def test_what_is_no_text_is_no_list_of_genes(tmp_path: Path, content: bytes) -> None:
    """A small binary file without a zero byte once gave its bytes as the names of genes."""
    (tmp_path / "genes").write_bytes(content)
    with pytest.raises(UserError, match="genes is not a readable text file of genes"):
        load_panel(tmp_path / "genes")
