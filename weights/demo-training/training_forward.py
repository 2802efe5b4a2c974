"""The forward pass used while training: the mathematics of the transformers modules, written for speed on a CPU.

Matrix products run in bfloat16, everything else in float32. One compiled function serves all layers of a tower, because
it takes the weights as arguments. The last text layer computes only the text rows: nothing reads its image rows.
``python training_forward.py FOLDER`` compares it with transformers on random weights.
"""

import sys

import torch
from torch.nn import functional

from model import IMAGE_TOKENS


def _linear(x, weight, bias=None):
    """A bfloat16 product with a float32 result."""
    y = functional.linear(x.bfloat16(), weight.bfloat16()).float()
    return y if bias is None else y + bias


def _rms_norm(x, weight):
    """Gemma's norm: x / rms(x) * (1 + weight)."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1.0 + weight)


def _rotate(x, cos, sin):
    """Half-split rotary embedding of [b, heads, T, H]."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


def _vision_layer(x, heads, weights):
    """One SigLIP layer; x [n, 64, D]."""
    n1, b1, wq, bq, wk, bk, wv, bv, wo, bo, n2, b2, w1, c1, w2, c2 = weights
    count, patches, width = x.shape
    y = functional.layer_norm(x, (width,), n1, b1, 1e-6)
    split = [_linear(y, w, b).view(count, patches, heads, -1).transpose(1, 2).bfloat16() for w, b in ((wq, bq), (wk, bk), (wv, bv))]
    y = functional.scaled_dot_product_attention(*split).transpose(1, 2).reshape(count, patches, width)
    x = x + _linear(y, wo, bo)
    y = functional.layer_norm(x, (width,), n2, b2, 1e-6)
    return x + _linear(functional.gelu(_linear(y, w1, c1), approximate="tanh"), w2, c2)


def _text_layer(x, cos, sin, mask, heads, key_heads, head_dim, first_query, weights):
    """One Gemma 2 layer; x [b, T, D]; returns the rows from ``first_query`` on."""
    wq, wk, wv, wo, w_gate, w_up, w_down, n_in, n_attention, n_before, n_after = weights
    b, total, _ = x.shape
    queries, group = total - first_query, heads // key_heads
    y = _rms_norm(x, n_in)
    x = x[:, first_query:]
    q = _linear(y[:, first_query:], wq).view(b, queries, heads, head_dim).transpose(1, 2)
    k = _linear(y, wk).view(b, total, key_heads, head_dim).transpose(1, 2)
    v = _linear(y, wv).view(b, total, key_heads, head_dim).transpose(1, 2)
    q = _rotate(q, cos[first_query:], sin[first_query:]).reshape(b, key_heads, group * queries, head_dim)
    k = _rotate(k, cos, sin)
    scores = (q.bfloat16() @ k.bfloat16().transpose(2, 3)).float() * head_dim**-0.5
    scores = 50.0 * torch.tanh(scores / 50.0)
    scores = scores.view(b, key_heads, group, queries, total) + mask[:, :, None, first_query:]
    weight = torch.softmax(scores, dim=-1).view(b, key_heads, group * queries, total)
    y = (weight.bfloat16() @ v.bfloat16()).float()
    y = y.view(b, heads, queries, head_dim).transpose(1, 2).reshape(b, queries, heads * head_dim)
    x = x + _rms_norm(_linear(y, wo), n_attention)
    y = _rms_norm(x, n_before)
    y = functional.gelu(_linear(y, w_gate), approximate="tanh") * _linear(y, w_up)
    return x + _rms_norm(_linear(y, w_down), n_after)


torch._dynamo.config.recompile_limit = 64  # one compilation for each width of text and kind of layer
vision_layer = torch.compile(_vision_layer, dynamic=False)
text_layer = torch.compile(_text_layer, dynamic=False)


def vision_features(model, pixels):
    """Pixels [n, 3, 112, 112] -> the tower's output [n, 64, D]."""
    tower = model.model.vision_tower
    x = tower.embeddings(pixels)
    for layer in tower.encoder.layers:
        a, m = layer.self_attn, layer.mlp
        modules = (layer.layer_norm1, a.q_proj, a.k_proj, a.v_proj, a.out_proj, layer.layer_norm2, m.fc1, m.fc2)
        x = vision_layer(x, a.num_heads, [w for module in modules for w in (module.weight, module.bias)])
    return tower.post_layernorm(x)


def text_states(model, embeddings, full_mask, local_mask):
    """Merged embeddings [b, T, D] and the two masks -> normalised states of the text rows, [b, T - 64, D]."""
    decoder = model.model.language_model
    config = decoder.config
    positions = torch.arange(1, embeddings.shape[1] + 1).unsqueeze(0)
    cos, sin = (table[0] for table in decoder.rotary_emb(embeddings, positions))
    x = embeddings
    for index, layer in enumerate(decoder.layers):
        a, m = layer.self_attn, layer.mlp
        modules = (a.q_proj, a.k_proj, a.v_proj, a.o_proj, m.gate_proj, m.up_proj, m.down_proj, layer.input_layernorm,
                   layer.post_attention_layernorm, layer.pre_feedforward_layernorm, layer.post_feedforward_layernorm)
        mask = full_mask if config.layer_types[index] == "full_attention" else local_mask
        first_query = IMAGE_TOKENS if index == len(decoder.layers) - 1 else 0
        x = text_layer(x, cos, sin, mask, config.num_attention_heads, config.num_key_value_heads, config.head_dim,
                       first_query, [module.weight for module in modules])
    return decoder.norm(x)


def main(folder):
    """Prints the largest difference from transformers, relative to the largest value, for a tower and a decoder."""
    from losses import attention_masks
    from model import load_tokenizer, make_config, make_model

    tokenizer = load_tokenizer(folder)
    model = make_model(make_config(tokenizer), tokenizer.convert_tokens_to_ids("<loc0000>"), 1)
    pixels, embeddings = torch.randn(16, 3, 112, 112), torch.randn(32, IMAGE_TOKENS + 40, 192)
    full, local = attention_masks(torch.tensor([5] * 32), torch.tensor([38] * 31 + [40]), 40, 64)
    with torch.no_grad():
        theirs = model.model.vision_tower(pixels).last_hidden_state
        print("vision", ((vision_features(model, pixels) - theirs).abs().max() / theirs.abs().max()).item())
        positions = torch.arange(1, embeddings.shape[1] + 1).unsqueeze(0)
        theirs = model.model.language_model(
            inputs_embeds=embeddings, position_ids=positions, use_cache=False,
            attention_mask={"full_attention": full, "sliding_attention": local},
        ).last_hidden_state[:, IMAGE_TOKENS:]
        print("text", ((text_states(model, embeddings, full, local) - theirs).abs().max() / theirs.abs().max()).item())


if __name__ == "__main__":
    main(sys.argv[1])
