"""Several processes take the same steps as one."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from forked import Forked
from napari_cmrcnet.common.errors import UserError
from napari_cmrcnet.sections.section import Section
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.training import distributed
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.data import split
from napari_cmrcnet.training.distributed import check_devices

Write = Callable[..., tuple[Path, Path]]
Open = Callable[..., Section]
ONE_STEP = """
import sys, torch
from safetensors.torch import save_file
from napari_cmrcnet.model.cmrcnet import CMRCNet
from napari_cmrcnet.model.config import preset
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.distributed import join
from napari_cmrcnet.training.step import batch_losses

settings = preset("tiny", 12, image_size=32, patch_size=8, dropout=0.0, mask_rate=0.0)
torch.manual_seed(0)
model = CMRCNet(settings)
for module in model.modules():
    if isinstance(module, (torch.nn.Dropout, torch.nn.AlphaDropout)):
        module.p = 0.0
pixels, expression = torch.randn(64, 3, 32, 32), torch.rand(64, 12)
with join(FitConfig(device="cpu")) as process:
    mine = slice(process.rank, None, process.count)
    network = process.wrap(model)
    total, figures, _ = batch_losses(network, settings, pixels[mine], expression[mine], gather=process.gather)
    total.backward()
    if process.first:
        gradients = {name: weight.grad for name, weight in model.named_parameters()}
        save_file({"loss": figures, **gradients}, sys.argv[1])
"""


# DDP never lets go of the process group: its gloo threads may abort a Python that ends by itself (pytorch #190489).
EACH = """
import os, signal, socket, sys, traceback
port = socket.socket()  # kept: it is given to nobody else, and may be listened at
port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
port.bind(("127.0.0.1", 0))
os.environ["MASTER_PORT"] = str(port.getsockname()[1])
ranks = []
for rank in "01":
    if (child := os.fork()) == 0:
        signal.alarm(300)  # else one would wait for hours for the other, where that has ended
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        try:
            exec(script, {"__name__": "__main__"})
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    ranks.append(child)
assert [os.waitpid(child, 0)[1] for child in ranks] == [0, 0]
"""


def by_two(forked: Forked, *scripts: tuple[str, list[str]]) -> None:
    """Run scripts in two processes each, as torchrun does."""
    code = "".join(f"import sys\nscript, sys.argv[1:] = {script!r}, {given!r}\n{EACH}" for script, given in scripts)
    jobs = forked(f"def job(_): pass\n{code}")
    assert list(jobs.run()) == []
    assert jobs.code == 0


TRAIN = """
import sys
from pathlib import Path
from napari_cmrcnet.common.progress import finish
from napari_cmrcnet.slides.patches import PatchSpec
from napari_cmrcnet.sections.section import open_section
from napari_cmrcnet.training.config import FitConfig
from napari_cmrcnet.training.fit import fit

def train(slide, spots, out):
    config = FitConfig(
        preset="tiny", variant="paper", epochs=2, batch_size=16, device="cpu", patch=PatchSpec(32, 0.5),
        model={"patch_size": 16, "dropout": 0.0, "reconstruction": False},
    )
    section = open_section(slide, spots, mpp=0.5)
    checkpoint = finish(fit([section], config, Path(out)))
    section.slide.close()
    assert checkpoint.card.epochs == 2

if __name__ == "__main__":
    train(*sys.argv[1:])
"""


@pytest.fixture(scope="module")
def by_both(tmp_path_factory: pytest.TempPathFactory, write_section: Write, forked: Forked) -> Path:
    """The folder of a training by one process and by two, and of what two make of one step."""
    folder = tmp_path_factory.mktemp("trained")
    names: dict[str, Any] = {"__name__": "train"}
    exec(TRAIN, names)
    files = [str(path) for path in write_section(folder, "S1")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CMRCNET_CACHE", str(folder / "cache"))
        names["train"](*files, folder / "one.cmrcnet")
        by_two(forked, (ONE_STEP, [str(folder / "step of two")]), (TRAIN, [*files, str(folder / "torchrun.cmrcnet")]))
    return folder


def test_one_process_of_64_equals_two_of_32(by_both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["", str(by_both / "step of one")])
    exec(ONE_STEP, {})
    one, two = load_file(by_both / "step of one"), load_file(by_both / "step of two")
    assert one.keys() == two.keys()
    assert max(float(value.abs().max()) for name, value in one.items() if name != "loss") > 1e-3
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-5, msg=name)


def test_torchrun_comes_to_the_weights_of_one_process(by_both: Path) -> None:
    check_same_weights(by_both / "one.cmrcnet", by_both / "torchrun.cmrcnet")
    assert {path.name for path in (by_both / "torchrun.training").iterdir()} == {"log.csv", "run.json"}


def check_same_weights(one: Path, two: Path) -> None:
    expected, found = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("found", "count", "settings", "message"),
    [
        ("cuda", 3, {}, "3 GPUs are asked for and 2 found; start torchrun with --nproc-per-node 2"),
        ("cuda", 2, {"device": "cuda:1"}, "cuda:1 is one GPU, and 2 are asked for; start one process, or"),
        ("mps", 2, {}, "A Mac has one GPU, and 2 processes cannot share it; start one, or"),
        ("cpu", 5, {"batch_size": 4}, "5 processes cannot share a batch of 4 spots; give a --batch-size of"),
    ],
)
def test_devices_that_cannot_train_together(
    found: str, count: int, settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(distributed, "choose_device", lambda name: torch.device(found if name == "auto" else name))
    monkeypatch.setattr(distributed, "cuda_devices", lambda: [0, 1] if found == "cuda" else [])
    config = FitConfig(variant="paper", precision="fp32", **settings)
    check_devices(config)
    monkeypatch.setenv("WORLD_SIZE", str(count))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(count))
    with pytest.raises(UserError, match=message):
        check_devices(config)


def test_the_gpus_that_torch_can_run_on_train_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "cuda_devices", lambda: [1, 3])
    devices = [distributed._local_device(torch.device("cuda"), i) for i in range(2)]
    assert devices == [torch.device("cuda:1"), torch.device("cuda:3")]


def test_more_processes_than_spots(
    tmp_path: Path, write_section: Write, open_small: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = open_small(*write_section(tmp_path, "S1", side=3))
    monkeypatch.setenv("WORLD_SIZE", "10")
    with pytest.raises(UserError, match="9 spots cannot be shared by 10 processes; start fewer"):
        split([section], FitConfig(preset="tiny", device="cpu", patch=PatchSpec(32, 0.5)))
