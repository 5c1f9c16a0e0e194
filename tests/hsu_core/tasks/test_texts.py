"""How texts become numbers, and that what was learned of them is kept with the weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_worlds import training
from tokenizers import Tokenizer

from hsu_core import spec
from hsu_core.tasks.reading_texts import Ngrams, Subwords
from hsu_core.training.callbacks import Callbacks
from hsu_core.training.loop import train

TEXTS = ["The card is lost", "the card is not lost", "Where is the bank?"]


def test_a_text_is_its_ngrams_with_weights_of_length_one() -> None:
    read = Ngrams(spec.BagOfNgrams(vocabulary=64, longest=2), TEXTS)
    ngrams, weights = read.inputs(["the card", "unknown words", "the the card"])
    learned = json.loads(bytes(read.vocabulary().tolist()))
    assert [learned["ngrams"][place] for place in ngrams[0].tolist()][:3] == ["card", "the", "the card"]
    torch.testing.assert_close(weights.norm(dim=1), torch.tensor([1.0, 0.0, 1.0]))
    card, the, _ = (learned["idf"][place] for place in ngrams[0].tolist()[:3])
    assert weights[0, 0] / weights[0, 1] == pytest.approx(card / the)


def test_the_most_frequent_ngrams_are_kept() -> None:
    many = [f"often word{number}" for number in range(100)]
    read = Ngrams(spec.BagOfNgrams(vocabulary=64, longest=1), many)
    assert "often" in json.loads(bytes(read.vocabulary().tolist()))["ngrams"]
    assert len(read.known.vocabulary_) == 64


def test_subwords_are_learned_alike_each_time_and_read_back() -> None:
    model = spec.TextTransformer(vocabulary=300, length=16)
    one, other = Subwords(model, TEXTS), Subwords(model, TEXTS)
    assert torch.equal(one.vocabulary(), other.vocabulary())
    tokens, is_token = one.inputs(["The card is Lost", "is", ""])
    known = Tokenizer.from_str(bytes(one.vocabulary().tolist()).decode())
    assert known.decode(tokens[0][is_token[0]].tolist()).strip() == "the card is lost"
    assert is_token.sum(dim=1).tolist()[1:] == [1, 1]
    assert int(tokens.max()) < 300


def test_a_long_text_is_cut_off_at_the_spec_length() -> None:
    read = Subwords(spec.TextTransformer(vocabulary=300, length=4), TEXTS)
    tokens, _ = read.inputs(["the card is lost " * 20])
    assert tokens.shape == (1, 4)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("network", ["bag_of_ngrams", "text_transformer"])
def test_a_checkpoint_holds_what_was_learned_of_the_texts(network: str, tmp_path: Path) -> None:
    train(training(network, duration={"steps": 1}), callbacks=Callbacks(checkpoint_dir=tmp_path))
    kept = load_file(tmp_path / "step-000000001.safetensors")["model/vocabulary"]
    assert "card" in json.dumps(json.loads(bytes(kept.tolist())))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="heads must divide the width 10, found 4"):
        spec.TextTransformer(width=10, heads=4)
