"""Training batches: pictures at model resolution, dense patch targets, and tokenised prompt and answer pairs.

A batch is a function of its index alone, so a run can be stopped and continued without repeating or skipping data.
"""

import random
from dataclasses import dataclass

import numpy
import torch
from PIL import Image

from model import GRID, IMAGE_SIZE, IMAGE_TOKENS
from scenes import COLORS, KINDS, TEXT_ONLY_COLORS, draw_masked_scene
from tasks import make_item

TASK_SHARES = {
    "caption en": 7, "caption fa": 7, "caption th": 7, "caption it": 7,
    "describe": 9, "ocr": 15, "answer": 20, "question": 4, "detect": 34,
}
SEGMENT_SHARES = {
    "caption en": 6, "caption fa": 6, "caption th": 6, "caption it": 6,
    "describe": 8, "ocr": 13, "answer": 18, "question": 6, "detect": 30, "segment": 40,
}
"""The shares of the last stage. Only scenes with shapes have the last two tasks."""

WIDTHS = (16, 32, 40, 64, 96)
"""Text widths to which sequences are padded."""

KIND_LABELS = {name: i + 1 for i, name in enumerate(KINDS + ("text",))}
COLOR_LABELS = {name: i + 1 for i, name in enumerate(list(COLORS) + list(TEXT_ONLY_COLORS))}
GLYPH_LABELS = {name: i + 1 for i, name in enumerate("abcdefghijklmnopqrstuvwxyz0123456789")}


@dataclass
class PatchTargets:
    """What each patch shows. kind, color: [n, 64]; box: [n, 64, 4] in 0..1; glyphs: [n, 64, 2]."""

    kind: torch.Tensor
    color: torch.Tensor
    box: torch.Tensor
    glyphs: torch.Tensor


@dataclass
class Sequences:
    """Some prompts of a batch, padded on the right. picture: [b], index of each prompt's picture in the batch.

    ids: [b, T] holds only text (``<bos>`` prompt newline answer ``<eos>`` pads); prefix, length: [b], counted in text.
    """

    picture: torch.Tensor
    ids: torch.Tensor
    prefix: torch.Tensor
    length: torch.Tensor


def picture_pixels(image):
    """The inference path's resize: Pillow bicubic to the model's square, uint8 [112, 112, 3]."""
    return numpy.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC))


def normalize(pixels):
    """uint8 [n, 112, 112, 3] to float [n, 3, 112, 112] in -1..1."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5


def patch_targets(scene):
    """The dense targets of one scene as numpy arrays (kind, color, box, glyphs) over the 8 x 8 grid."""
    kind = numpy.zeros((GRID, GRID), numpy.int64)
    color = numpy.zeros((GRID, GRID), numpy.int64)
    box = numpy.zeros((GRID, GRID, 4), numpy.float32)
    glyphs = numpy.zeros((GRID, GRID, 2), numpy.int64)
    centers = (numpy.arange(GRID) + 0.5) / GRID
    things = [(shape["kind"], shape["color"], shape["box"]) for shape in scene["shapes"]]
    if scene["text"]:
        things.append(("text", scene["text"]["color"], scene["text"]["box"]))
    for name, color_name, (y0, x0, y1, x1) in things:
        inside = ((centers >= y0 - 0.02) & (centers <= y1 + 0.02))[:, None] & ((centers >= x0 - 0.02) & (centers <= x1 + 0.02))[None, :]
        kind[inside], color[inside] = KIND_LABELS[name], COLOR_LABELS[color_name]
        box[inside] = (y0, x0, y1, x1)
    if scene["text"]:
        y0, _, y1, _ = scene["text"]["box"]
        row = min(GRID - 1, int((y0 + y1) / 2 * GRID))
        for character, x in scene["text"]["glyphs"]:
            half_column = min(2 * GRID - 1, int(x * 2 * GRID))
            glyphs[row, half_column // 2, half_column % 2] = GLYPH_LABELS[character]
    cells = GRID * GRID
    return kind.reshape(cells), color.reshape(cells), box.reshape(cells, 4), glyphs.reshape(cells, 2)


def draw_items(scene, count, rng, shares, codes):
    """``count`` different tasks of a scene, drawn with {task: share}; ``codes`` of its shapes, or None without "segment"."""
    items, seen = [], set()
    while len(items) < count:
        item = make_item(scene, rng.choices(list(shares), list(shares.values()))[0], rng, KINDS, list(COLORS), codes)
        if item and item["prompt"] not in seen:
            seen.add(item["prompt"])
            items.append(item)
    return items


class SceneBatches:
    """The batches of a stage: (pixels uint8 [n, 112, 112, 3], PatchTargets, [Sequences, ...])."""

    def __init__(self, tokenizer, first_seed, pictures, prompts, parts, coder=None):
        """``pictures`` per batch, ``prompts`` per picture (0: pictures only), sequences sorted by length into ``parts``.

        With ``coder``, a MaskCoder, prompts ask for masks too.
        """
        self.tokenizer, self.first_seed, self.coder = tokenizer, first_seed, coder
        self.shares = SEGMENT_SHARES if coder else TASK_SHARES
        self.pictures, self.prompts, self.parts = pictures, prompts, parts

    def _encode(self, item, picture):
        """(text ids with bos, newline and eos; prefix length; picture index)."""
        prefix = self.tokenizer("<bos>" + item["prompt"] + "\n", add_special_tokens=False).input_ids
        suffix = self.tokenizer(item["expected"], add_special_tokens=False).input_ids
        return prefix + suffix + [1], len(prefix), picture

    def _pack(self, encoded):
        """Pads encoded items into one Sequences; few different widths, because the compiled layers are made per shape."""
        longest = max(len(ids) for ids, _, _ in encoded)
        longest = next(width for width in WIDTHS if width >= longest)
        ids = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _, _ in encoded])
        return Sequences(
            picture=torch.tensor([picture for _, _, picture in encoded]), ids=ids,
            prefix=torch.tensor([prefix for _, prefix, _ in encoded]), length=torch.tensor([len(i) for i, _, _ in encoded]),
        )

    def batch(self, index):
        """The batch of an index."""
        rng = random.Random(f"batch {self.first_seed} {index}")
        pixels, targets, encoded = [], [], []
        for picture in range(self.pictures):
            image, scene, masks = draw_masked_scene(self.first_seed + index * self.pictures + picture)
            codes = [self.coder.codes(mask) for mask in masks] if self.coder else None
            pixels.append(picture_pixels(image))
            targets.append(patch_targets(scene))
            encoded += [self._encode(item, picture) for item in draw_items(scene, self.prompts, rng, self.shares, codes)]
        encoded.sort(key=lambda entry: len(entry[0]))
        cuts = [len(encoded) * part // self.parts for part in range(self.parts + 1)]
        sequences = [self._pack(encoded[a:b]) for a, b in zip(cuts, cuts[1:]) if b > a]
        dense = PatchTargets(*(torch.from_numpy(numpy.stack(column)) for column in zip(*targets)))
        return torch.from_numpy(numpy.stack(pixels)), dense, sequences
