"""What a benchmark ran on."""

import os
import platform
from pathlib import Path


def machine(device: str = "cpu") -> str:
    """Return processor, cores and, where it computes, the GPU, in a few words.

    Parameters
    ----------
    device : str
        As `choose_device` takes it.
    """
    from napari_cmrcnet.common.device import choose_device

    chosen = choose_device(device)
    cores = os.cpu_count() or 1
    said = f"{_processor()}, {cores} core{'s' if cores > 1 else ''}, {platform.system()}"
    if chosen.type == "cuda":
        import torch

        return f"{torch.cuda.get_device_name(chosen)}; {said}"
    return f"{chosen.type.upper()}; {said}" if chosen.type != "cpu" else said


def _processor() -> str:
    """Return the processor's name; Linux has it in a file that Python does not read."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown processor"
