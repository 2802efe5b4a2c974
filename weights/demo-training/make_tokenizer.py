"""Trains the demo's own sentencepiece model on the texts of the tasks and writes every tokenizer file of the folder.

    python make_tokenizer.py OUT_FOLDER

The layout copies the real tokenizer: pad 0, eos 1, bos 2, unk 3, <mask> 4, the newline pieces, 256 byte pieces, learned
pieces, then <loc0000>..<loc1023>, <seg000>..<seg127>, and <image> as an added token with the last id.
"""

import random
import sys
import tempfile
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken
from transformers import GemmaTokenizer

from scenes import COLORS, KINDS, WORDS, draw_scene
from tasks import LANGUAGES, make_item

CORPUS_SEED = 20_000_000
CORPUS_SCENES = 6000
LEARNED_VOCABULARY = 768
"""Pieces of the trained model before the location and segment pieces, the 256 byte pieces included."""

LOCATIONS = [f"<loc{i:04d}>" for i in range(1024)]
SEGMENTS = [f"<seg{i:03d}>" for i in range(128)]
TASK_KINDS = [f"caption {language}" for language in LANGUAGES] + ["describe", "answer", "answer", "question", "detect"]


def corpus_lines():
    """Prompts and answers of many scenes, without location pieces, one text a line."""
    rng = random.Random(CORPUS_SEED)
    for seed in range(CORPUS_SEED, CORPUS_SEED + CORPUS_SCENES):
        _, scene = draw_scene(seed)
        for kind in TASK_KINDS:
            item = make_item(scene, kind, rng, KINDS, list(COLORS))
            if item:
                yield item["prompt"]
                if kind != "detect":
                    yield item["expected"]
    for word in WORDS:
        yield from [word, f"the word {word}"] * 20
    yield from ["ocr", "caption en", "detect"] * 200


def train_pieces():
    """Trains the BPE model with byte fallback and split digits, and appends the location and segment pieces."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = str(Path(folder) / "pieces")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=corpus_lines(),
            model_prefix=prefix,
            model_type="bpe",
            vocab_size=LEARNED_VOCABULARY,
            character_coverage=1.0,
            byte_fallback=True,
            split_digits=True,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            normalization_rule_name="identity",
            pad_id=0, eos_id=1, bos_id=2, unk_id=3,
            pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>",
            user_defined_symbols=["<mask>", "\n", "\n\n"],
            num_threads=1,
            minloglevel=2,
        )
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(Path(prefix + ".model").read_bytes())
    for piece in LOCATIONS + SEGMENTS:
        model.pieces.add(piece=piece, score=0.0, type=sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED)
    model.trainer_spec.vocab_size = len(model.pieces)
    model.trainer_spec.model_prefix = "demo"
    return model


def merges_of(model):
    """The merge list of a sentencepiece BPE model: every way to join two pieces into a learned one, best score first.

    Pieces of one score are ordered as sentencepiece picks them; scores of learned pieces are all different.
    """
    kinds = sentencepiece_model_pb2.ModelProto.SentencePiece
    learned = {p.piece: p.score for p in model.pieces if p.type == kinds.NORMAL}
    ids = {p.piece: i for i, p in enumerate(model.pieces)}
    merges = []
    for piece, score in learned.items():
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        splits = [(a, b) for a, b in splits if a in learned and b in learned]
        merges.extend((-score, ids[a], ids[b], a, b) for a, b in splits)
    return [(a, b) for _, _, _, a, b in sorted(merges)]


def main(folder):
    """Writes tokenizer.model, tokenizer.json, tokenizer_config.json and special_tokens_map.json."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = train_pieces()
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    vocabulary = {p.piece: i for i, p in enumerate(model.pieces)}
    tokenizer = GemmaTokenizer(vocab=vocabulary, merges=merges_of(model), add_bos_token=False, model_max_length=1024)
    plain = [AddedToken(piece, normalized=False, special=False) for piece in ["\n", "\n\n"] + LOCATIONS + SEGMENTS]
    tokenizer.add_tokens(plain)
    tokenizer.add_special_tokens({"extra_special_tokens": [AddedToken("<image>", normalized=False, special=True)]})
    tokenizer.save_pretrained(folder)
    print("pieces", len(model.pieces), "with <image>", len(tokenizer), "newline", vocabulary["\n"], "loc0", vocabulary["<loc0000>"])


if __name__ == "__main__":
    main(sys.argv[1])
