"""Loads folders as transformers' users do and writes their logits: what a saved model is to another reader.

    python hub_logits.py JOBS.json

A job is {"folder": a model, "inputs": a reference's inputs.safetensors, "out": where its logits go}. Prints one JSON object
for each: the model's own type, its parameters, and the ids that its processor makes of "caption en". Fails where transformers misses a
tensor, does not expect one, or cannot make a processor of the folder.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoProcessor, PaliGemmaForConditionalGeneration
from transformers.utils import logging


def run(folder: str, inputs: str, out: str) -> dict:
    """One job."""
    model, info = PaliGemmaForConditionalGeneration.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )
    faults = {kind: sorted(map(str, names)) for kind, names in info.items() if names}
    assert not faults, f"{folder}: {faults}"
    given = load_file(inputs)
    with torch.no_grad():
        logits = model.eval()(
            input_ids=given["input_ids"].long(),
            attention_mask=given["attention_mask"].long(),
            token_type_ids=given["token_type_ids"].long(),
            pixel_values=given["pixel_values"],
        ).logits
    save_file({"logits": logits.contiguous()}, out)
    processor = AutoProcessor.from_pretrained(folder)
    picture = given["pixel_bytes"][0].numpy()
    ids = processor(text="<image>caption en", images=picture, return_tensors="pt").input_ids
    return {
        "dtype": str(AutoConfig.from_pretrained(folder).dtype).removeprefix("torch."),
        "parameters": model.num_parameters(),
        "ids": ids[0].tolist(),
    }


def main(jobs: Path) -> None:
    """Every job in turn."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for job in json.loads(jobs.read_text()):
        print(json.dumps(run(**job)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
