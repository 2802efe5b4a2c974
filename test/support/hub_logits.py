"""Loads a folder as transformers' users do and writes its logits: what a saved model is to another reader.

    python hub_logits.py MODEL_DIR INPUTS.safetensors OUT.safetensors

Fails where transformers misses a tensor, does not expect one, or cannot make a processor of the folder.
"""

import sys

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, PaliGemmaForConditionalGeneration
from transformers.utils import logging


def main(folder: str, inputs_file: str, out: str) -> None:
    """Compares nothing: the caller does."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model, info = PaliGemmaForConditionalGeneration.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
    )
    faults = {kind: list(names) for kind, names in info.items() if names}
    assert not faults, faults
    inputs = load_file(inputs_file)
    with torch.no_grad():
        logits = model.eval()(
            input_ids=inputs["input_ids"].long(),
            attention_mask=inputs["attention_mask"].long(),
            token_type_ids=inputs["token_type_ids"].long(),
            pixel_values=inputs["pixel_values"],
        ).logits
    save_file({"logits": logits.contiguous()}, out)
    processor = AutoProcessor.from_pretrained(folder)
    ids = processor(text="<image>caption en", images=inputs["pixel_bytes"][0].numpy(), return_tensors="pt").input_ids
    print(f"{model.config.dtype} {model.num_parameters()} {ids[0].tolist()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
