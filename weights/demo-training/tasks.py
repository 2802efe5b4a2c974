"""Turns a scene into pairs of prompt and expected answer, in PaliGemma's prompt syntax.

Every pair is unambiguous: an object is named by its kind alone only where one shape of that kind is in the picture.
"""

LANGUAGES = ("en", "fa", "th", "it")

PLURALS = {"circle": "circles", "square": "squares", "triangle": "triangles", "star": "stars", "cross": "crosses", "heart": "hearts"}

PERSIAN_KINDS = {"circle": "دایرهٔ", "square": "مربع", "triangle": "مثلث", "star": "ستارهٔ", "cross": "صلیب", "heart": "قلب"}
PERSIAN_COLORS = {"red": "قرمز", "orange": "نارنجی", "yellow": "زرد", "green": "سبز", "blue": "آبی", "purple": "بنفش", "pink": "صورتی"}

THAI_KINDS = {"circle": "วงกลม", "square": "สี่เหลี่ยมจัตุรัส", "triangle": "สามเหลี่ยม", "star": "ดาว", "cross": "กากบาท", "heart": "หัวใจ"}
THAI_COLORS = {"red": "สีแดง", "orange": "สีส้ม", "yellow": "สีเหลือง", "green": "สีเขียว", "blue": "สีน้ำเงิน", "purple": "สีม่วง", "pink": "สีชมพู"}

ITALIAN_KINDS = {"circle": ("un cerchio", "m"), "square": ("un quadrato", "m"), "triangle": ("un triangolo", "m"),
                 "star": ("una stella", "f"), "cross": ("una croce", "f"), "heart": ("un cuore", "m")}
ITALIAN_COLORS = {"red": ("rosso", "rossa"), "orange": ("arancione", "arancione"), "yellow": ("giallo", "gialla"),
                  "green": ("verde", "verde"), "blue": ("blu", "blu"), "purple": ("viola", "viola"), "pink": ("rosa", "rosa")}

CAPTION_AND = {"en": " and ", "fa": " و ", "it": " e "}
CAPTION_COMMA = {"en": ", ", "fa": "، ", "it": ", "}


def _article(word):
    """The English indefinite article of a word."""
    return "an" if word[0] in "aeiou" else "a"


def _shape_phrase(shape, language):
    """One shape with its colour, as a noun phrase: "a red circle", "un cerchio rosso"."""
    kind, color = shape["kind"], shape["color"]
    if language == "en":
        return f"{_article(color)} {color} {kind}"
    if language == "fa":
        return f"یک {PERSIAN_KINDS[kind]} {PERSIAN_COLORS[color]}"
    if language == "th":
        return f"{THAI_KINDS[kind]}{THAI_COLORS[color]}"
    noun, gender = ITALIAN_KINDS[kind]
    return f"{noun} {ITALIAN_COLORS[color][gender == 'f']}"


def _text_phrase(text, language):
    """The printed word or number as a noun phrase: "the word apple", "il numero 42"."""
    number = text["value"][0].isdigit()
    lead = {"en": ("the word", "the number"), "fa": ("کلمهٔ", "عدد"), "th": ("คำว่า", "ตัวเลข"), "it": ("la parola", "il numero")}
    return f"{lead[language][number]} {text['value']}"


def _join(phrases, language):
    """Phrases as a list in a sentence: "a, b and c"."""
    if language == "th":
        if len(phrases) < 3:
            return "และ".join(phrases)
        return " ".join(phrases[:-1]) + " และ" + phrases[-1]
    head = CAPTION_COMMA[language].join(phrases[:-1])
    return head + CAPTION_AND[language] + phrases[-1] if head else phrases[-1]


def caption(scene, language):
    """The short caption: the shapes from left to right, then the print."""
    phrases = [_shape_phrase(shape, language) for shape in scene["shapes"]]
    if scene["text"]:
        phrases.append(_text_phrase(scene["text"], language))
    return _join(phrases, language)


def describe(scene):
    """The longer English description: sizes, positions and the colour of the ground."""
    phrases = []
    for shape in scene["shapes"]:
        place = f"in the {shape['position']}" if shape["position"] == "center" else f"at the {shape['position']}"
        phrases.append(f"a {shape['size']} {shape['color']} {shape['kind']} {place}")
    if scene["text"]:
        text = scene["text"]
        place = "in the middle" if text["position"] == "middle" else f"at the {text['position']}"
        phrases.append(f"{_text_phrase(text, 'en')} in {text['color']} {place}")
    return f"{_join(phrases, 'en')} on a {scene['ground']['color']} ground"


def _unique(shapes, key):
    """The shapes whose value under ``key`` (kind or color) no other shape of the picture shares."""
    values = [shape[key] for shape in shapes]
    return [shape for shape in shapes if values.count(shape[key]) == 1]


def questions_and_answers(scene, rng, kinds, colors):
    """All question and answer pairs of a scene, as a list of (question, answer), in families of equal weight.

    Returns a list of lists, one per family; ``rng`` chooses what the yes/no and counting questions ask for.
    """
    shapes, text, ground = scene["shapes"], scene["text"], scene["ground"]
    present_kinds = sorted({shape["kind"] for shape in shapes})
    absent_kinds = [kind for kind in kinds if kind not in present_kinds]
    pairs = {(shape["color"], shape["kind"]) for shape in shapes}
    families = []
    if by_kind := _unique(shapes, "kind"):
        families.append([(f"what color is the {s['kind']}?", s["color"]) for s in by_kind])
    if by_color := _unique(shapes, "color"):
        families.append([(f"what shape is {s['color']}?", s["kind"]) for s in by_color])
    families.append([("how many shapes are there?", str(len(shapes)))])
    counted = rng.choice(present_kinds) if present_kinds and rng.random() < 0.75 else rng.choice(absent_kinds)
    families.append([(f"how many {PLURALS[counted]} are there?", str(sum(s["kind"] == counted for s in shapes)))])
    asked = rng.choice(present_kinds) if present_kinds and rng.random() < 0.5 else rng.choice(absent_kinds)
    families.append([(f"is there a {asked}?", "yes" if asked in present_kinds else "no")])
    if shapes:
        shape = rng.choice(shapes)
        color, kind = shape["color"], shape["kind"]
        if rng.random() < 0.5:
            if rng.random() < 0.5:
                color = rng.choice([c for c in colors if c != color])
            else:
                kind = rng.choice([k for k in kinds if k != kind])
        families.append([(f"is there {_article(color)} {color} {kind}?", "yes" if (color, kind) in pairs else "no")])
    if len(shapes) > 1:
        families.append([("what shape is on the left?", shapes[0]["kind"]), ("what shape is on the right?", shapes[-1]["kind"])])
    families.append([("what color is the ground?", ground["color"])])
    families.append([("is there any text?", "yes" if text else "no")])
    if text:
        noun = "number" if text["value"][0].isdigit() else "word"
        families.append([(f"what {noun} is written?", text["value"])])
        families.append([(f"what color is the {noun}?", text["color"])])
    return families


def canonical_questions(scene):
    """All (answer, question) pairs for which picture and answer leave one canonical question."""
    shapes, text = scene["shapes"], scene["text"]
    pairs = []
    for shape in shapes:
        alone_in_kind = shape in _unique(shapes, "kind")
        alone_in_color = shape in _unique(shapes, "color") and not (text and text["color"] == shape["color"])
        if alone_in_kind and alone_in_color and shape["color"] != scene["ground"]["color"]:
            pairs.append((shape["color"], f"what color is the {shape['kind']}?"))
            pairs.append((shape["kind"], f"what shape is {shape['color']}?"))
    if shapes and not text:
        pairs.append((str(len(shapes)), "how many shapes are there?"))
    if text and not shapes:
        pairs.append((text["value"], f"what {'number' if text['value'][0].isdigit() else 'word'} is written?"))
    return pairs


def location(value):
    """The location piece of a coordinate in 0..1."""
    return f"<loc{min(1023, round(value * 1024)):04d}>"


def box_text(shape):
    """The four location pieces of a shape's box."""
    return "".join(location(v) for v in shape["box"])


def code_text(codes):
    """The sixteen pieces of a mask's codes."""
    return "".join(f"<seg{code:03d}>" for code in codes)


def named_shapes(scene, rng):
    """One to all shapes of a scene in a random order, and what a prompt calls them: ([shape, ...], [label, ...])."""
    shapes = scene["shapes"]
    unique_kinds = _unique(shapes, "kind")
    wanted = rng.sample(shapes, rng.randint(1, len(shapes)))
    labels = [s["kind"] if s in unique_kinds and rng.random() < 0.6 else f"{s['color']} {s['kind']}" for s in wanted]
    return wanted, labels


def detection(scene, rng):
    """A detection prompt and its expected text, boxes in prompt order."""
    wanted, labels = named_shapes(scene, rng)
    return "detect " + " ; ".join(labels), " ; ".join(f"{box_text(shape)} {label}" for shape, label in zip(wanted, labels))


def segmentation(scene, codes, rng):
    """A segmentation prompt, its expected text and the shapes it names: as detection, with codes between box and label.

    ``codes``: the sixteen codes of each shape of the scene.
    """
    wanted, labels = named_shapes(scene, rng)
    indices = [scene["shapes"].index(shape) for shape in wanted]
    objects = [f"{box_text(shape)}{code_text(codes[i])} {label}" for shape, i, label in zip(wanted, indices, labels)]
    return "segment " + " ; ".join(labels), " ; ".join(objects), indices


def make_item(scene, kind, rng, kinds, colors, codes=None):
    """One task of a kind for a scene, as {"kind", "prompt", "expected"}, or None where the scene does not allow it.

    A "segment" task needs the ``codes`` of the scene's shapes and has "shapes" too: which shapes it names, in order.
    """
    named = {}
    if kind.startswith("caption"):
        language = kind.split()[1] if " " in kind else rng.choice(LANGUAGES)
        prompt, expected = f"caption {language}", caption(scene, language)
    elif kind == "describe":
        prompt, expected = "describe en", describe(scene)
    elif kind == "ocr":
        if not scene["text"]:
            return None
        prompt, expected = "ocr", scene["text"]["value"]
    elif kind == "answer":
        question, expected = rng.choice(rng.choice(questions_and_answers(scene, rng, kinds, colors)))
        prompt = f"answer en {question}"
    elif kind == "question":
        pairs = canonical_questions(scene)
        if not pairs:
            return None
        answer, expected = rng.choice(pairs)
        prompt = f"question en {answer}"
    elif kind == "detect":
        if not scene["shapes"]:
            return None
        prompt, expected = detection(scene, rng)
    elif kind == "segment":
        if not scene["shapes"]:
            return None
        prompt, expected, named["shapes"] = segmentation(scene, codes, rng)
    else:
        raise ValueError(f"unknown kind of task: {kind}")
    return {"kind": kind.split()[0], "prompt": prompt, "expected": expected, **named}
