"""The one way by which values get from this machine's memory to a device."""

import numpy as np
import torch
from numpy.typing import NDArray


def to_device(values: NDArray[np.generic] | torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Copy an array or a tensor to a device; to CUDA through pinned memory, without waiting for the copy.

    To MPS the copy is waited for. Otherwise it would read memory that may hold something else by the time it is made,
    and nothing would say so (pytorch issues 139550 and 189690).
    """
    device = torch.device(device)
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(values))
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)  # torch keeps pinned memory until the copy is made
    return tensor.to(device)
