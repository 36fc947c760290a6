"""What the policy tests share: tiny model folders, made once by the script in test/tools."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``clip`` and ``kosmos`` in it, as a hub would hold them."""
    script = Path(__file__).parents[2] / "tools" / "tiny_models.py"
    spec = importlib.util.spec_from_file_location("tiny_models", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("models")
    module.main(folder)
    return folder
