"""Make tiny Kosmos-2 and CLIP folders as a hub would hold them: ``python test/tools/tiny_models.py FOLDER``.

Real classes with random weights, their tokenizers and processors, all through ``save_pretrained``; nothing is downloaded.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPProcessor,
    CLIPTokenizer,
    Kosmos2Config,
    Kosmos2Model,
    Kosmos2Processor,
    XLMRobertaTokenizer,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

SIDE = 56


def _words(name: str) -> Any:
    return json.loads((resources.files("vla_bt.policy.tokenizers") / f"{name}.json").read_text(encoding="utf-8"))["model"]


def _picture_processor(**sizes: Any) -> CLIPImageProcessorPil:
    return CLIPImageProcessorPil(crop_size={"height": SIDE, "width": SIDE}, **sizes)


def make_clip(folder: Path) -> None:
    """Write a CLIP folder."""
    words = _words("clip")
    tokenizer = CLIPTokenizer(vocab=words["vocab"], merges=[tuple(pair) for pair in words["merges"]], model_max_length=77)
    text = {"vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 77, "projection_dim": 24}
    text |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    vision = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"image_size": SIDE, "patch_size": 28, "projection_dim": 24}
    torch.manual_seed(1)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)).save_pretrained(folder)
    CLIPProcessor(_picture_processor(size={"shortest_edge": SIDE}), tokenizer).save_pretrained(folder)


def make_kosmos(folder: Path) -> None:
    """Write a Kosmos-2 folder."""
    words = [(piece, score) for piece, score in _words("kosmos")["vocab"]]
    tokenizer = XLMRobertaTokenizer(vocab=words)
    processor = Kosmos2Processor(_picture_processor(size={"height": SIDE, "width": SIDE}, do_center_crop=False), tokenizer)
    # Only now is the vocabulary complete: the processor has added the words for places in the picture.
    text = {"vocab_size": len(processor.tokenizer), "embed_dim": 40, "layers": 2, "attention_heads": 2, "ffn_dim": 80}
    text["max_position_embeddings"] = 128
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"image_size": SIDE, "patch_size": 14}
    torch.manual_seed(2)
    Kosmos2Model(Kosmos2Config(text_config=text, vision_config=vision, latent_query_num=4)).save_pretrained(folder)
    processor.save_pretrained(folder)


def main(folder: Path) -> None:
    """Write both folders, ``clip`` and ``kosmos``, into ``folder``."""
    make_clip(folder / "clip")
    make_kosmos(folder / "kosmos")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
