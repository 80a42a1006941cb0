"""What is released says where the project lies, and README's links lead there from wherever it is read."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ADDRESS = "https://example.org/laboratory/napari-cmrcnet"


def test_the_address_is_set_for_a_release(tmp_path: Path) -> None:
    for name in ("README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    given = re.findall(r"\]\(([^)]*)\)", (ROOT / "README.md").read_text("utf-8"))

    subprocess.run([sys.executable, ROOT / "scripts" / "set_address.py", ADDRESS, "v1.2.3"], cwd=tmp_path, check=True)

    urls = tomllib.loads((tmp_path / "pyproject.toml").read_text("utf-8"))["project"]["urls"]
    assert urls["Source"] == ADDRESS
    assert (ROOT / urls["Changelog"].removeprefix(f"{ADDRESS}/blob/v1.2.3/")).is_file()
    assert (ROOT / urls["Documentation"].removeprefix(f"{ADDRESS}/blob/v1.2.3/")).is_file()
    links = re.findall(r"\]\(([^)]*)\)", (tmp_path / "README.md").read_text("utf-8"))
    assert len(links) == len(given) > 10
    for before, after in zip(given, links, strict=True):
        kind = "raw" if before.endswith(".png") else "blob"
        assert after == (before if before.startswith("https://") else f"{ADDRESS}/{kind}/v1.2.3/{before}")
