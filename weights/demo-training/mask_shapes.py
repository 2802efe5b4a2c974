"""The masks that the VQ-VAE is trained on: the demo's shapes as scenes.py draws them, and many that it never draws.

A mask's crop to its box knows neither place nor scale, so the six shapes alone would be six pictures. Three of five masks
are therefore varied: turned, sheared, bent, with other proportions, cut by the border, polygons, and two shapes in one box.
"""

import math
import random

import numpy
from PIL import Image, ImageChops, ImageDraw

from scenes import CANVAS, KINDS, shape_mask, shape_outline
from vqvae import crop_mask

LEAST_SIDE, MOST_SIDE = 30, 112
LEAST_DRAWN = 12
"""A mask whose box is narrower than this many pixels is drawn again."""


def _circle(cx, cy, side):
    """A circle as a polygon of 64 corners."""
    return [(cx + side / 2 * math.cos(2 * math.pi * i / 64), cy + side / 2 * math.sin(2 * math.pi * i / 64)) for i in range(64)]


def _polygon(rng, cx, cy, side):
    """A star-shaped polygon of 3 to 9 corners at random radii."""
    corners, turn = rng.randint(3, 9), rng.uniform(0, 2 * math.pi)
    radii = [side / 2 * rng.uniform(0.35, 1.0) for _ in range(corners)]
    return [(cx + r * math.cos(turn + 2 * math.pi * i / corners), cy + r * math.sin(turn + 2 * math.pi * i / corners)) for i, r in enumerate(radii)]


def _star(rng, cx, cy, side):
    """A star with 4 to 7 points and any inner radius."""
    points, inner = rng.randint(4, 7), rng.uniform(0.25, 0.8)
    angles = [-math.pi / 2 + i * math.pi / points for i in range(2 * points)]
    return [(cx + side / 2 * (inner if i % 2 else 1) * math.cos(a), cy + side / 2 * (inner if i % 2 else 1) * math.sin(a)) for i, a in enumerate(angles)]


def _bend(points, rng, cx, cy, side):
    """Points turned, stretched, sheared and moved by a small smooth wave."""
    turn = rng.uniform(0, 2 * math.pi) if rng.random() < 0.6 else rng.gauss(0, 0.1)
    shear, stretch = rng.gauss(0, 0.2), rng.uniform(0.6, 1.0)
    wave, phase, turns = rng.uniform(0, 0.08) * side, rng.uniform(0, 2 * math.pi), rng.randint(1, 3)
    bent = []
    for x, y in points:
        x, y = x - cx, (y - cy) * stretch
        x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
        x += shear * y + wave * math.sin(2 * math.pi * turns * y / side + phase)
        y += wave * math.cos(2 * math.pi * turns * x / side + phase)
        bent.append((cx + x, cy + y))
    return bent


def _varied_outline(rng, cx, cy, side):
    """The outline of any shape, usually bent."""
    kind = rng.choice(KINDS + ("star", "polygon"))
    if kind == "circle":
        points = _circle(cx, cy, side)
    elif kind == "polygon":
        points = _polygon(rng, cx, cy, side)
    elif kind == "star" and rng.random() < 0.7:
        points = _star(rng, cx, cy, side)
    else:
        points = shape_outline(kind, cx, cy, side)
    return _bend(points, rng, cx, cy, side) if rng.random() < 0.9 else points


def _varied_mask(rng):
    """One varied mask on the canvas."""
    mask = Image.new("L", (CANVAS, CANVAS), 0)
    pen = ImageDraw.Draw(mask)
    for _ in range(2 if rng.random() < 0.12 else 1):
        side = rng.uniform(LEAST_SIDE, MOST_SIDE)
        near = (0, CANVAS) if rng.random() < 0.25 else (side / 2, CANVAS - side / 2)
        cx, cy = rng.uniform(*near), rng.uniform(*near)
        pen.polygon(_varied_outline(rng, cx, cy, side), fill=255)
    if rng.random() < 0.08:
        hole, side = Image.new("L", mask.size, 255), rng.uniform(10, 40)
        ImageDraw.Draw(hole).polygon(_circle(cx, cy, side), fill=0)
        mask = ImageChops.multiply(mask, hole)
    return mask


def draw_mask(seed):
    """The mask of a seed, a Pillow "L" picture of the canvas's size with 0 and 255."""
    rng = random.Random(f"mask {seed}")
    while True:
        if rng.random() < 0.4:
            side = rng.choice((56, 98)) if rng.random() < 0.5 else rng.randint(LEAST_SIDE, MOST_SIDE)
            cx, cy = (rng.randint(side // 2 + 1, CANVAS - side // 2 - 2) + rng.choice((0, 0, 0.5)) for _ in range(2))
            mask = shape_mask(rng.choice(KINDS), cx, cy, side)
        else:
            mask = _varied_mask(rng)
        box = mask.getbbox()
        if box and min(box[2] - box[0], box[3] - box[1]) >= LEAST_DRAWN:
            return mask


def crops(seeds):
    """The crops of many seeds, uint8 [n, 64, 64]."""
    return numpy.stack([crop_mask(draw_mask(seed)) for seed in seeds])
