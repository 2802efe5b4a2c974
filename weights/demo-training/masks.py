"""Masks of objects: run lengths, masks from an answer, and their overlap with what was drawn.

Run lengths are COCO's: the pixels column by column, counted in turns, zeros first. Source: cocodataset/cocoapi,
``common/maskApi.c`` (``rleEncode``).
"""

import re

import numpy
import torch
from PIL import Image

OBJECT = re.compile(r"<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>((?:<seg\d{3}>){16}) ([^;<>]+)")


def run_lengths(mask):
    """The run lengths of a mask, bool [height, width]."""
    flat = mask.T.reshape(-1)
    changes = numpy.flatnonzero(numpy.diff(numpy.concatenate([[False], flat])))
    return numpy.diff(numpy.concatenate([[0], changes, [flat.size]])).tolist()


def from_run_lengths(counts, height, width):
    """The mask of run lengths, bool [height, width]."""
    return numpy.repeat(numpy.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


def parse_objects(text):
    """The well-formed objects of a segmentation text: [(label, (y0, x0, y1, x1) in bins, [16 codes])]."""
    objects = []
    for part in text.split(" ; "):
        if match := OBJECT.fullmatch(part):
            *numbers, codes, label = match.groups()
            codes = [int(code) for code in re.findall(r"\d{3}", codes)]
            if max(codes) < 128:
                objects.append((label, tuple(map(int, numbers)), codes))
    return objects


def paste_mask(soft, box, height, width):
    """A decoded mask, float [64, 64], in its box of a picture: bool [height, width].

    The box, in bins, is trunc(bin / 1024 x size) in pixels; Pillow's bilinear resize of the floats; above 0.
    """
    y0, x0, y1, x1 = (int(bin_ * size / 1024) for bin_, size in zip(box, (height, width, height, width)))
    mask = numpy.zeros((height, width), bool)
    if y1 > y0 and x1 > x0:
        mask[y0:y1, x0:x1] = numpy.asarray(Image.fromarray(soft).resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR)) > 0
    return mask


def object_masks(text, model, height, width):
    """The objects of a segmentation text with their masks at the picture's size: [(label, box in bins, mask)]."""
    objects = parse_objects(text)
    if not objects:
        return []
    with torch.no_grad():
        soft = model.decode(torch.tensor([codes for _, _, codes in objects]))[:, 0].numpy()
    return [(label, box, paste_mask(one, box, height, width)) for (label, box, _), one in zip(objects, soft)]


def mask_overlap(a, b):
    """Intersection over union of two masks; 0 where both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 0.0


def mask_overlaps(expected, found):
    """One overlap per expected (label, mask), with the first of ``found`` of its label that is left; 0 for each one too many."""
    left, scores = list(found), []
    for label, mask in expected:
        labels = [other for other, _ in left]
        scores.append(mask_overlap(mask, left.pop(labels.index(label))[1]) if label in labels else 0.0)
    return scores + [0.0] * len(left)
