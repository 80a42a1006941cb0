"""The guide: what it links to is there, and what it names exists."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
PAGES_BESIDE = sorted(ROOT.glob("*.md"))
PACKAGE = ROOT / "src/napari_cmrcnet"


@pytest.mark.parametrize("page", [*PAGES, *PAGES_BESIDE], ids=lambda page: page.stem)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    local = [target.partition("#")[0] for target in targets if "://" not in target]
    missing = [target for target in local if target and not (page.parent / target).is_file()]
    assert not missing


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert [page.name for page in PAGES if page.relative_to(ROOT / "docs").as_posix() not in menu] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_files_that_contributors_are_sent_to_are_there(page: str) -> None:
    named = set(re.findall(r"`((?:[\w.]+/)+(?:\w+\.(?:py|md))?|\w+\.yaml)`", (ROOT / page).read_text("utf-8")))
    there = {path for path in named if (PACKAGE / path).exists() or (ROOT / path).exists()}
    assert there
    assert sorted(path for path in named - there if "NAME" not in path) == []


def test_the_names_that_contributors_are_sent_to_are_in_their_files() -> None:
    sent = re.findall(r"`(\S+\.py)`: `(\w+)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert sent
    assert [name for path, name in sent if not re.search(rf"\b{name}\b", (PACKAGE / path).read_text("utf-8"))] == []


def test_the_panels_that_the_guide_opens_are_in_the_menu_of_napari() -> None:
    manifest = yaml.safe_load((ROOT / "src/napari_cmrcnet/napari.yaml").read_text("utf-8"))
    panels = {widget["display_name"] for widget in manifest["contributions"]["widgets"]}
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = set(re.findall(rf"Plugins > {manifest['display_name']} > (\w+)", text))
    assert named == panels


def test_the_buttons_that_the_guide_names_are_there() -> None:
    buttons = "\n".join(path.read_text("utf-8") for path in (PACKAGE / "widgets").glob("*.py")).replace("&", "")
    text = "\n".join(page.read_text("utf-8") for page in [*PAGES, ROOT / "README.md"])
    named = set(re.findall(r"\*\*([^*\n]+…)\*\*", text))
    assert named
    assert sorted(name for name in named if f'"{name}"' not in buttons) == []


def test_every_public_name_is_in_the_reference() -> None:
    import napari_cmrcnet

    shown = set(re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text("utf-8"), re.MULTILINE))
    public = {name: getattr(napari_cmrcnet, name) for name in napari_cmrcnet.__all__ if name != "__version__"}
    assert shown == {f"{one.__module__}.{name}" for name, one in public.items()}


def test_the_source_archive_holds_what_its_own_tests_read() -> None:
    target = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["sdist"]
    packed = {path.lstrip("/") for path in target["include"]}
    assert sorted(path for path in packed if not (ROOT / path).exists()) == []
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").glob("*.py"))
    read = set(re.findall(r'ROOT / "([\w.]+)', tests)) | set(
        re.findall(r"^ *(?:from|import) (benchmarks)", tests, re.M)
    )
    for page in PAGES_BESIDE:
        targets = re.findall(r"\]\(([\w.]+)[^):]*\)", page.read_text("utf-8"))
        read |= {page.name, *targets}
    assert {"src", "docs", "benchmarks"} <= read
    assert sorted(read - packed - {"pyproject.toml"}) == []  # which every source archive holds
