"""The demo's model: its configuration, its starting weights, and the export as a Hugging Face folder."""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, Gemma2Config, PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
from transformers import SiglipVisionConfig
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

IMAGE_SIZE = 112
PATCH = 14
GRID = IMAGE_SIZE // PATCH
IMAGE_TOKENS = GRID * GRID


def load_tokenizer(folder):
    """The tokenizer of the demo folder."""
    return AutoTokenizer.from_pretrained(folder)


def make_processor(folder):
    """The processor with the PIL image pipeline: RGB, Pillow bicubic to 112 x 112, pixels to -1..1."""
    images = SiglipImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, resample=3, do_convert_rgb=True,
        image_mean=[0.5, 0.5, 0.5], image_std=[0.5, 0.5, 0.5],
    )
    images.image_seq_length = IMAGE_TOKENS
    return PaliGemmaProcessor(image_processor=images, tokenizer=load_tokenizer(folder))


def make_config(tokenizer):
    """The configuration: SigLIP 4 x 144 on an 8 x 8 grid, Gemma 2 4 x 192 with window 64 in the even layers."""
    vision = SiglipVisionConfig(
        hidden_size=144, intermediate_size=432, num_hidden_layers=4, num_attention_heads=4, image_size=IMAGE_SIZE,
        patch_size=PATCH, projection_dim=192, vision_use_head=False, hidden_act="gelu_pytorch_tanh", layer_norm_eps=1e-6,
    )
    text = Gemma2Config(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=448, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, query_pre_attn_scalar=32, attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
        sliding_window=64, layer_types=["sliding_attention", "full_attention"] * 2, max_position_embeddings=1024,
        hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, attention_dropout=0.0, tie_word_embeddings=True,
        pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )
    return PaliGemmaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=192, hidden_size=192, vocab_size=len(tokenizer), tie_word_embeddings=True,
        pad_token_id=0, eos_token_id=1, bos_token_id=2,
    )


def _sincos_positions(width):
    """Sine and cosine rows for the 8 x 8 grid, [64, width]: the start of the learned position table."""
    rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    frequencies = math.pi / GRID * 1.7 ** torch.arange(width // 4)
    frequencies = frequencies.clamp(max=math.pi)
    parts = [f(axis.reshape(-1, 1) * frequencies) for axis in (rows, columns) for f in (torch.sin, torch.cos)]
    return torch.cat(parts, dim=1)


def _smooth_location_rows(count, width, generator):
    """Embedding rows for the location pieces in which neighbours resemble each other, [count, width]."""
    periods = torch.exp(torch.empty(width).uniform_(math.log(5.0), math.log(300.0), generator=generator))
    phases = torch.empty(width).uniform_(0, 2 * math.pi, generator=generator)
    return math.sqrt(2.0 / width) * torch.cos(torch.arange(count).reshape(-1, 1) / periods + phases)


def make_model(config, location_start, seed):
    """A freshly initialised model: unit-variance embeddings and matrices, damped residual branches."""
    generator = torch.Generator().manual_seed(seed)
    config._attn_implementation = "eager"
    model = PaliGemmaForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() >= 2:
                fan_in = weight[0].numel()
                weight.normal_(0, fan_in**-0.5, generator=generator)
            elif name.endswith("bias"):
                weight.zero_()
            elif "post_attention_layernorm" in name or "post_feedforward_layernorm" in name:
                weight.fill_(-0.5)
            elif "vision" in name:
                weight.fill_(1.0)
            else:
                weight.zero_()
        for layer in model.model.vision_tower.encoder.layers:
            layer.self_attn.out_proj.weight.mul_(0.5)
            layer.mlp.fc2.weight.mul_(0.5)
        table = model.model.vision_tower.embeddings.position_embedding.weight
        table.copy_(0.5 * _sincos_positions(table.shape[1]))
        rows = model.get_input_embeddings().weight
        rows[location_start : location_start + 1024] = _smooth_location_rows(1024, rows.shape[1], generator)
    return model


def load_exported(model, folder):
    """Gives a model the weights of an exported folder."""
    exported = PaliGemmaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    model.load_state_dict(exported.state_dict())


def start_code_rows(model, codebook, code_start, seed):
    """Starting embedding rows of the mask codes, which no earlier stage trains: as long as the other rows, and alike
    where the rows of the VQ-VAE's codebook [128, C] are alike.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        rows = model.get_input_embeddings().weight
        length = rows[:code_start].norm(dim=1).median()
        shared = (codebook - codebook.mean(0)) @ torch.randn(codebook.shape[1], rows.shape[1], generator=generator)
        own = torch.randn(len(codebook), rows.shape[1], generator=generator)
        mixed = torch.nn.functional.normalize(shared, dim=1) + torch.nn.functional.normalize(own, dim=1)
        rows[code_start : code_start + len(codebook)] = torch.nn.functional.normalize(mixed, dim=1) * length


def export(model, folder):
    """Writes config.json, generation_config.json, preprocessor_config.json and model.safetensors (bfloat16).

    Tensor names are those of the real hub files: ``language_model.model.*``, ``vision_tower.vision_model.*``,
    ``multi_modal_projector.*``; the tied output matrix is left out.
    """
    folder = Path(folder)
    tensors = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        name = name.removeprefix("model.")
        name = name.replace("language_model.", "language_model.model.", 1) if name.startswith("language_model.") else name
        name = name.replace("vision_tower.", "vision_tower.vision_model.", 1) if name.startswith("vision_tower.") else name
        tensors[name] = tensor.detach().to(torch.bfloat16).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    config["architectures"] = ["PaliGemmaForConditionalGeneration"]
    for part in (config, config["text_config"], config["vision_config"]):
        part.pop("_name_or_path", None)
        part["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    generation = {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0, "do_sample": False, "max_new_tokens": 256}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    preprocessor = {
        "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "image_processor_type": "SiglipImageProcessor",
        "image_seq_length": IMAGE_TOKENS, "processor_class": "PaliGemmaProcessor", "resample": 3, "rescale_factor": 1 / 255,
        "size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor, indent=2) + "\n")
