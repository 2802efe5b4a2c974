"""The training losses: dense patch losses on the vision tower, and the language loss on the answers."""

import torch
from torch import nn
from torch.nn import functional

from data import COLOR_LABELS, GLYPH_LABELS, KIND_LABELS
from model import IMAGE_TOKENS
from training_forward import text_states

MASKED = torch.finfo(torch.float32).min
CODES = 128
CODE_WEIGHT = 0.25
"""A mask code's weight beside other pieces: there are sixteen to an object, and the kind of the shape tells them all."""


class PatchHeads(nn.Module):
    """Linear read-outs of every patch: kind, colour, box and the glyphs of its left and right half. Not exported."""

    def __init__(self, width):
        super().__init__()
        self.sizes = [len(KIND_LABELS) + 1, len(COLOR_LABELS) + 1, 4, 2 * (len(GLYPH_LABELS) + 1)]
        self.read = nn.Linear(width, sum(self.sizes))

    def forward(self, features, targets):
        """features [n, 64, width], PatchTargets -> (summed loss, {name: loss})."""
        kind, color, box, glyphs = self.read(features).split(self.sizes, dim=-1)
        inside = targets.kind > 0
        glyphs = glyphs.unflatten(-1, (2, -1))
        text_rows = (targets.glyphs > 0).any(-1) | (targets.kind == KIND_LABELS["text"])
        weight = torch.where(text_rows, 1.0, 0.1).unsqueeze(-1).expand(targets.glyphs.shape)
        glyph_loss = functional.cross_entropy(glyphs.flatten(0, 2), targets.glyphs.flatten(), reduction="none")
        parts = {
            "kind": functional.cross_entropy(kind.flatten(0, 1), targets.kind.flatten()),
            "color": functional.cross_entropy(color.flatten(0, 1), targets.color.flatten()),
            "box": functional.l1_loss(box[inside], targets.box[inside]) * 15,
            "glyphs": 3 * (glyph_loss * weight.flatten()).sum() / weight.sum(),
        }
        return sum(parts.values()), parts


def attention_masks(prefix, length, text_width, window):
    """The additive masks of the two kinds of layer, [b, 1, T, T] each, for image tokens, text and right pads.

    Prefix block open in both directions, suffix causal; sliding layers show suffix queries the last ``window`` keys.
    """
    total = IMAGE_TOKENS + text_width
    i = torch.arange(total).reshape(1, total, 1)
    j = torch.arange(total).reshape(1, 1, total)
    block_end = (IMAGE_TOKENS + prefix).reshape(-1, 1, 1)
    real = j < (IMAGE_TOKENS + length).reshape(-1, 1, 1)
    block = (i < block_end) & (j < block_end)
    full = real & ((j <= i) | block)
    local = real & (((j <= i) & (j > i - window)) | block)
    local = local | (j == i)  # a pad's query may look at itself: its row must not be empty
    return tuple(torch.where(m, 0.0, MASKED).unsqueeze(1) for m in (full, local))


def language_loss(model, image_features, sequences, location_start, spread):
    """Cross entropy of the answer tokens and ``<eos>``; location targets are spread over their neighbours.

    A token of an answer of n tokens, codes aside, weighs 1 / sqrt(n), so that one-word answers are not drowned by descriptions.

    image_features [n, 64, D]; ``spread`` is the standard deviation, in bins, of the Gaussian target of a location piece.
    Returns (weighted sum of token losses, sum of the weights).
    """
    ids, prefix, length = sequences.ids, sequences.prefix, sequences.length
    text = model.get_input_embeddings()(ids)
    embeddings = torch.cat([image_features[sequences.picture], text], dim=1)
    full, local = attention_masks(prefix, length, ids.shape[1], model.config.text_config.sliding_window)
    hidden = text_states(model, embeddings, full, local)
    place = torch.arange(ids.shape[1] - 1).unsqueeze(0)
    predicting = (place >= prefix.unsqueeze(1) - 1) & (place < length.unsqueeze(1) - 1)
    targets = ids[:, 1:][predicting]
    scores = functional.log_softmax(model.lm_head(hidden[:, :-1][predicting]), dim=-1)
    hard = -scores.gather(1, targets.unsqueeze(1)).squeeze(1)
    bins = targets - location_start
    is_location = (bins >= 0) & (bins < 1024)
    if is_location.any():
        reach = torch.arange(-12, 13)
        neighbours = bins[is_location].unsqueeze(1) + reach
        weights = torch.exp(-0.5 * (reach / spread) ** 2) * ((neighbours >= 0) & (neighbours < 1024))
        weights = weights / weights.sum(1, keepdim=True)
        soft = -(scores[is_location].gather(1, neighbours.clamp(0, 1023) + location_start) * weights).sum(1)
        hard = hard.masked_scatter(is_location, soft)
    is_code = (ids >= location_start + 1024) & (ids < location_start + 1024 + CODES)
    counted = length - prefix - is_code.sum(1)
    token_weights = torch.where(is_code[:, 1:], CODE_WEIGHT, 1.0) * counted.float().rsqrt().unsqueeze(1)
    weights = token_weights[predicting]
    return (hard * weights).sum(), weights.sum()
