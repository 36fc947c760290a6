"""What the policy tests share: tiny model folders and training checkpoints, made by the scripts in test/tools."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

torch.set_num_threads(1)


def tool(name: str) -> ModuleType:
    """Import a script of test/tools."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``clip`` and ``kosmos`` in it, as a hub would hold them."""
    folder = tmp_path_factory.mktemp("models")
    tool("tiny_models").main(folder)
    return folder


@pytest.fixture(scope="session")
def training_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small hybrid as its trainer wrote it: other names, Adam's state, ``args``."""
    path = tmp_path_factory.mktemp("training") / "best_simple_clip_lstm_model.pth"
    tool("fake_checkpoint").make(path, "hybrid", "tiny")
    return path
