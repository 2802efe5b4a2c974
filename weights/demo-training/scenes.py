"""Draws the pictures: a few coloured shapes, a printed word or number, or both, on a plain or noisy ground.

A scene is a plain dictionary (it is stored as it is in ``test/heldout/heldout.json``):

    {"ground": {"color": "white", "texture": "plain"},
     "shapes": [{"kind": "circle", "color": "red", "size": "large", "position": "top left",
                 "box": [y0, x0, y1, x1]}, ...],           # left to right; box in 0..1
     "text": {"value": "apple", "color": "blue", "position": "top", "box": [y0, x0, y1, x1],
              "glyphs": [["a", center_x], ...]} or null}

Everything is a function of one integer seed. Only Pillow and the standard library are used.
"""

import functools
import math
import random

from PIL import Image, ImageChops, ImageDraw, ImageFont

CANVAS = 224

KINDS = ("circle", "square", "triangle", "star", "cross", "heart")
COLORS = {
    "red": (220, 35, 40),
    "orange": (245, 135, 20),
    "yellow": (248, 215, 40),
    "green": (40, 160, 60),
    "blue": (35, 80, 215),
    "purple": (125, 45, 165),
    "pink": (250, 130, 190),
}
TEXT_ONLY_COLORS = {"black": (20, 20, 20), "white": (245, 245, 245)}
GROUNDS = {"white": (250, 250, 250), "grey": (190, 190, 190), "black": (25, 25, 25), "beige": (236, 220, 188)}
TEXTURES = ("plain", "noisy")

WORDS = (
    "apple", "bank", "bear", "bird", "boat", "book", "bread", "bus", "cake", "car", "cat", "city",
    "cow", "dog", "door", "duck", "exit", "fire", "fish", "food", "fox", "gold", "hello", "home",
    "hotel", "ice", "king", "lake", "lion", "milk", "moon", "open", "park", "pizza", "rain", "road",
    "sale", "shop", "snow", "stop", "sun", "taxi", "tea", "tree", "water", "wind", "zebra", "zoo",
)
MOST_DIGITS = 3
FONT_SIZES = (46, 54, 62)
STEP = 14
"""Shapes and print start at multiples of this many pixels in both directions: half a patch of the model."""

SIDES = {"small": 56, "large": 98}
MARGIN = 6
MIN_CENTER_DISTANCE_X = 40
TEXT_STROKE = 1
"""Extra width of the printed strokes: the bundled font is thin, and the model sees half the drawn resolution."""
LINE_CLEARANCE = 7
"""A centre keeps this many pixels from the lines that part top, middle and bottom (left, middle and right)."""


def _thirds(value):
    """0, 1 or 2 for the third of the canvas that holds a pixel coordinate; None when it is too near a border line."""
    for line in (CANVAS / 3, 2 * CANVAS / 3):
        if abs(value - line) < LINE_CLEARANCE:
            return None
    return min(2, int(value * 3 / CANVAS))


def _position_name(row, column):
    """The English name of one of the nine cells, as used in descriptions."""
    if row == 1 and column == 1:
        return "center"
    return " ".join(name for name in (("top", "", "bottom")[row], ("left", "", "right")[column]) if name)


def _jitter(color, rng, amount):
    """A colour with every channel moved by at most ``amount``."""
    return tuple(max(0, min(255, channel + rng.randint(-amount, amount))) for channel in color)


def _draw_ground(ground, rng):
    """The empty canvas: one colour, or the colour plus coarse low-amplitude noise in blocks of 4 or 7 pixels."""
    image = Image.new("RGB", (CANVAS, CANVAS), _jitter(GROUNDS[ground["color"]], rng, 5))
    if ground["texture"] == "plain":
        return image
    block, amplitude, levels = rng.choice((4, 7)), rng.randint(18, 30), 5
    cells = CANVAS // block
    noise = Image.frombytes("L", (cells, cells), rng.randbytes(cells * cells))
    noise = noise.point([round(v * (levels - 1) / 255) * 2 * amplitude // (levels - 1) for v in range(256)])
    noise = noise.resize((CANVAS, CANVAS), Image.Resampling.NEAREST)
    noise = Image.merge("RGB", (noise, noise, noise))
    return ImageChops.add(image, noise, scale=1, offset=-amplitude)


def shape_outline(kind, cx, cy, side):
    """The polygon of a shape whose bounding square has the given centre and side."""
    half = side / 2
    if kind == "square":
        return [(cx - half, cy - half), (cx + half, cy - half), (cx + half, cy + half), (cx - half, cy + half)]
    if kind == "triangle":
        return [(cx, cy - half), (cx + half, cy + half), (cx - half, cy + half)]
    if kind == "star":
        points = []
        for i in range(10):
            radius = half * (1.0 if i % 2 == 0 else 0.42)
            angle = -math.pi / 2 + i * math.pi / 5
            points.append((cx + radius * math.cos(angle), cy + radius * math.sin(angle)))
        return points
    if kind == "cross":
        arm = side / 6
        return [(cx - arm, cy - half), (cx + arm, cy - half), (cx + arm, cy - arm), (cx + half, cy - arm),
                (cx + half, cy + arm), (cx + arm, cy + arm), (cx + arm, cy + half), (cx - arm, cy + half),
                (cx - arm, cy + arm), (cx - half, cy + arm), (cx - half, cy - arm), (cx - arm, cy - arm)]
    if kind == "heart":
        points = []
        for i in range(40):
            t = 2 * math.pi * i / 40
            x = math.sin(t) ** 3
            y = -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)) / 16
            points.append((cx + half * x, cy + half * (y - 0.05)))
        return points
    raise ValueError(f"unknown kind of shape: {kind}")


def shape_mask(kind, cx, cy, side):
    """The pixels of one shape: a Pillow "L" picture of the canvas's size, 255 inside and 0 outside."""
    mask = Image.new("L", (CANVAS, CANVAS), 0)
    pen = ImageDraw.Draw(mask)
    if kind == "circle":
        pen.ellipse((cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2), fill=255)
    else:
        pen.polygon(shape_outline(kind, cx, cy, side), fill=255)
    return mask


def _mask_box(mask):
    """The box [y0, x0, y1, x1] in 0..1 of a mask, measured on the drawn pixels."""
    x0, y0, x1, y1 = mask.getbbox()
    return [round(v / CANVAS, 5) for v in (y0, x0, y1, x1)]


@functools.lru_cache(maxsize=None)
def _font(size):
    """Pillow's bundled TrueType font."""
    return ImageFont.load_default(size)


def _starts(low, high, side):
    """The multiples of the step at which something of a length fits between two pixels, with the margin on both ends."""
    return [start for start in range(0, CANVAS, STEP) if start >= low + MARGIN and start + side <= high - MARGIN]


def _place_shapes(rng, count, top, bottom):
    """Centres and sides of ``count`` shapes in the rows ``top``..``bottom``: no overlap, clear left-to-right order.

    Returns a list of (size name, side, cx, cy, row, column), left to right, or None when the draw did not fit.
    """
    placed = []
    for _ in range(count):
        large_allowed = count < 3 and bottom - top > 150
        size = "large" if large_allowed and rng.random() < 0.5 else "small"
        side = SIDES[size]
        for _attempt in range(40):
            cx = rng.choice(_starts(0, CANVAS, side)) + side / 2
            cy = rng.choice(_starts(top, bottom, side)) + side / 2
            column, row = _thirds(cx), _thirds(cy)
            if column is None or row is None:
                continue
            clear = all(
                abs(cx - other[2]) >= MIN_CENTER_DISTANCE_X
                and max(abs(cx - other[2]), abs(cy - other[3])) >= (side + other[1]) / 2 + MARGIN
                for other in placed
            )
            if clear:
                placed.append((size, side, cx, cy, row, column))
                break
        else:
            return None
    return sorted(placed, key=lambda shape: shape[2])


def _contrasting(ground_color, names):
    """The colours among ``names`` in which print stays easy to read on a ground."""
    if ground_color == "black":
        return [n for n in names if n in ("white", "yellow", "orange", "pink")]
    return [n for n in names if n in ("black", "red", "blue", "purple", "green")]


def _draw_text(image, rng, ground_color, band):
    """Prints one word or number inside a band of rows (top, bottom, position name) and returns its entry."""
    value = rng.choice(WORDS) if rng.random() < 0.6 else "".join(rng.choice("0123456789") for _ in range(rng.randint(1, MOST_DIGITS)))
    if value[0] == "0" and len(value) > 1:
        value = rng.choice("123456789") + value[1:]
    top, bottom, position = band
    fitting = []
    for size in FONT_SIZES:
        x0, y0, x1, y1 = _font(size).getbbox(value, stroke_width=TEXT_STROKE)
        columns = range(STEP, CANVAS - MARGIN - (x1 - x0) + 1, STEP)
        rows = range(top, bottom - (y1 - y0) + 1, STEP)
        if columns and rows:
            fitting.append((size, columns, rows))
    size, columns, rows = rng.choice(fitting)
    font, x, y = _font(size), rng.choice(columns), rng.choice(rows)
    x0, y0, x1, y1 = font.getbbox(value, stroke_width=TEXT_STROKE)
    color = rng.choice(_contrasting(ground_color, list(COLORS) + list(TEXT_ONLY_COLORS)))
    rgb = _jitter({**COLORS, **TEXT_ONLY_COLORS}[color], rng, 10)
    ImageDraw.Draw(image).text((x - x0, y - y0), value, font=font, fill=rgb, stroke_width=TEXT_STROKE, stroke_fill=rgb)
    glyphs = []
    for i, character in enumerate(value):
        left, right = font.getlength(value[:i]), font.getlength(value[: i + 1])
        glyphs.append([character, round((x - x0 + (left + right) / 2) / CANVAS, 5)])
    box = [y / CANVAS, x / CANVAS, (y + y1 - y0) / CANVAS, (x + x1 - x0) / CANVAS]
    return {"value": value, "color": color, "position": position, "box": [round(v, 5) for v in box], "glyphs": glyphs}


def draw_masked_scene(seed):
    """Draws the scene of a seed.

    Returns (image, scene, masks): a 224 x 224 RGB picture, the dictionary described at the top of this file, and the mask
    of each of its shapes. Shapes keep clear of each other and of the print, so that a mask is what is seen of a shape.
    50 % of the pictures hold shapes only, 30 % text only, 20 % one or two shapes and text.
    """
    rng = random.Random(f"scene {seed}")
    ground = {"color": rng.choice(list(GROUNDS)), "texture": rng.choice(TEXTURES)}
    image = _draw_ground(ground, rng)
    draw = rng.random()
    layout = "shapes" if draw < 0.50 else "text" if draw < 0.80 else "both"
    text, shapes, masks = None, [], []
    rows = (0, CANVAS)
    if layout == "text":
        band = rng.choice(((14, 70, "top"), (84, 140, "middle"), (154, 218, "bottom")))
        text = _draw_text(image, rng, ground["color"], band)
    elif layout == "both":
        if rng.random() < 0.5:
            band, rows = (14, 70, "top"), (72, CANVAS)
        else:
            band, rows = (154, 218, "bottom"), (0, 152)
        text = _draw_text(image, rng, ground["color"], band)
    if layout != "text":
        count = rng.randint(1, 3 if layout == "shapes" else 2)
        placed = None
        while placed is None:
            placed = _place_shapes(rng, count, *rows)
        pairs = rng.sample([(kind, color) for kind in KINDS for color in COLORS], count)
        for (kind, color), (size, side, cx, cy, row, column) in zip(pairs, placed):
            mask = shape_mask(kind, cx, cy, side)
            image.paste(_jitter(COLORS[color], rng, 14), mask=mask)
            position = _position_name(row, column)
            shapes.append({"kind": kind, "color": color, "size": size, "position": position, "box": _mask_box(mask)})
            masks.append(mask)
    return image, {"ground": ground, "shapes": shapes, "text": text}, masks


def draw_scene(seed):
    """The picture and the dictionary of a seed, without the masks."""
    return draw_masked_scene(seed)[:2]
