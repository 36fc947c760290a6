"""Where weights start in memory: matrix kernels treat the edges of unaligned memory apart, and then the last bit may differ."""

from __future__ import annotations

import torch
from torch import Tensor

ALIGNMENT = 64
"""Bytes; where torch itself puts tensors."""


def aligned(tensor: Tensor) -> Tensor:
    """Return the tensor itself, or a copy if it does not start at a multiple of 64 bytes or is not contiguous."""
    fits = tensor.data_ptr() % ALIGNMENT == 0 and tensor.is_contiguous()
    return tensor if fits else tensor.clone(memory_format=torch.contiguous_format)
