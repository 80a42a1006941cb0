"""The notebooks of the guide run, and what they show was made by running them."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "docs/notebooks"


def code_of(name: str) -> list[dict[str, Any]]:
    book = json.loads((FOLDER / name).read_text("utf-8"))
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


@pytest.mark.usefixtures("quick_encoder")
@pytest.mark.parametrize(
    ("name", "asked", "smaller"), [("train_and_score.ipynb", "spots=80", "spots=24"), ("open_in_scanpy.ipynb", "", "")]
)
def test_it_runs(name: str, asked: str, smaller: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Here, not in a kernel of its own, which would load everything again; on fewer spots, since each is encoded."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PendingDeprecationWarning, module="scanpy")
        code = "\n".join("".join(cell["source"]) for cell in code_of(name))
        assert asked in code
        exec(compile(code.replace(asked, smaller) if asked else code, name, "exec"), names)
    assert len(names["prediction"]) >= 20


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_it_was_run_from_first_to_last(path: Path) -> None:
    counted = [cell["execution_count"] for cell in code_of(path.name)]
    assert counted == list(range(1, len(counted) + 1))
    outputs = [output for cell in code_of(path.name) for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert path.stat().st_size < 400_000
