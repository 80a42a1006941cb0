"""Where a model runs: which devices are there, what torch can run on, how values get there, when memory runs out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_cmrcnet.common import device
from napari_cmrcnet.common.device import choose_device, to_device
from napari_cmrcnet.common.errors import UserError, is_out_of_memory
from napari_cmrcnet.model.convnet import SEEN_PX, shrink

CPU = torch.device("cpu")


BUILT_FOR = ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_120", "compute_120"]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have torch say that it finds CUDA devices of these compute capabilities."""

    def found(*capabilities: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: capabilities[i])
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: BUILT_FOR)
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        device._warn_of_unusable.cache_clear()

    return found


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        ((6, 1), False),  # older than all it was built for
        ((7, 5), True),
        ((8, 9), True),  # a later minor version of sm_86
        ((9, 0), True),
        ((9, 1), False),  # sm_90a is for 9.0 alone
        ((10, 0), False),  # compute_120 is for 12.0 and later
        ((12, 1), True),
        ((13, 0), True),  # compiled from compute_120
    ],
)
def test_a_gpu_that_torch_has_no_kernels_for(
    capability: tuple[int, int], runs: bool, cuda: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    cuda(capability)
    if runs:
        assert (choose_device("auto"), choose_device("cuda:0")) == (torch.device("cuda"), torch.device("cuda:0"))
        assert not caplog.text
        return
    for name in ("cuda", "cuda:0"):
        with pytest.raises(UserError, match=r"cannot run on GPU 0 .*; choose cpu, or install a torch built for it"):
            choose_device(name)
    assert choose_device("auto") == choose_device("auto") == CPU
    assert caplog.text.count("the CPU is used") == 1


def test_a_gpu_that_torch_can_run_on_is_found_behind_one_that_it_cannot(cuda: Callable[..., None]) -> None:
    cuda((6, 1), (8, 0))
    assert choose_device("auto") == choose_device("cuda:1") == torch.device("cuda:1")
    assert device.cuda_devices() == [1]


def test_only_cuda_is_copied_to_in_the_background() -> None:
    """From memory that is freed at once, MPS would read garbage and say nothing."""
    asked: list[tuple[str, dict[str, Any]]] = []

    class Copied(torch.Tensor):
        def pin_memory(self, *_: Any) -> "Copied":
            asked.append(("pin_memory", {}))
            return self

        def to(self, to: Any, **how: Any) -> "Copied":  # type: ignore[override]
            asked.append((torch.device(to).type, how))
            return self

    for kind in ("mps", "cpu", "cuda"):
        to_device(torch.ones(3).as_subclass(Copied), kind)
    assert asked == [("mps", {}), ("cpu", {}), ("pin_memory", {}), ("cuda", {"non_blocking": True})]
    package = Path(device.__file__).parents[1]
    users = [file.name for file in package.rglob("*.py") if "non_blocking" in file.read_text("utf-8")]
    assert users == ["device.py"]


def test_choosing_a_device() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("name", ["gpu", "cuda:999", "meta", ""])
def test_a_device_that_is_not_there(name: str) -> None:
    with pytest.raises(UserError, match=r"device|cuda"):
        choose_device(name)


def test_torch_on_the_cpu_says_that_memory_ran_out_in_words_that_are_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(10**15)
    assert is_out_of_memory(raised.value)


@pytest.mark.parametrize("sides", [(32, 32), (57, 200), (112, 90), (224, 224)])
def test_patches_are_pooled_alike_whatever_their_size(sides: tuple[int, int]) -> None:
    """Adaptive pooling, also where 56 does not divide a side, in steps that MPS can do."""
    pixels = torch.randn(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shrink(pixels), torch.nn.AdaptiveAvgPool2d(SEEN_PX)(pixels), rtol=0, atol=1e-6)
