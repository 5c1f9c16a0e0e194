"""How does a text become numbers? By a vocabulary that is learned from the training texts alone.

The vocabulary is kept with the job, as UTF-8 in a buffer of the network: whoever has the weights has it too.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import assert_never

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from hsu_core import spec
from hsu_core.spec import plugins


class Reader(ABC):
    """What a network takes of a text."""

    @abstractmethod
    def inputs(self, texts: Sequence[str]) -> tuple[Tensor, ...]:
        """The arguments of the network's forward, a row for each text."""

    @abstractmethod
    def vocabulary(self) -> UInt8[Tensor, " bytes"]:
        """What was learned, as JSON in UTF-8."""


def reader(model: spec.TextModel, training_texts: Sequence[str]) -> Reader:
    """The reader of this network, with what it learns from the training texts."""
    match model:
        case spec.BagOfNgrams():
            return Ngrams(model, training_texts)
        case spec.TextTransformer():
            return Subwords(model, training_texts)
        case spec.PluginTextModel():
            own: Reader = plugins.built_by(model.reader)(model, training_texts)
            return own
        case _:
            assert_never(model)


class Ngrams(Reader):
    """The n-grams of words of a text and their TF-IDF weights, of length 1 (scikit-learn's TfidfVectorizer)."""

    def __init__(self, model: spec.BagOfNgrams, training_texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer  # an import of a second, only for texts

        self.known = TfidfVectorizer(
            ngram_range=(1, model.longest),
            max_features=model.vocabulary,
            sublinear_tf=True,
            token_pattern=_WORD,
        )
        self.known.fit(training_texts)

    def inputs(self, texts: Sequence[str]) -> tuple[Int64[Tensor, "n k"], Float[Tensor, "n k"]]:
        """The n-grams of each text, and their weights; 0 behind the last."""
        table = self.known.transform(texts).tocsr()
        counts = np.diff(table.indptr)
        rows = np.repeat(np.arange(len(counts)), counts)
        places = np.arange(table.nnz) - np.repeat(table.indptr[:-1], counts)
        ngrams = np.zeros((len(counts), max(1, counts.max(initial=0))), dtype=np.int64)
        weights = np.zeros(ngrams.shape, dtype=np.float32)
        ngrams[rows, places], weights[rows, places] = table.indices, table.data
        return torch.from_numpy(ngrams), torch.from_numpy(weights)

    def vocabulary(self) -> UInt8[Tensor, " bytes"]:
        """The n-grams in the order of their rows, and the inverse frequency of each."""
        return _as_bytes(
            json.dumps({"ngrams": self.known.get_feature_names_out().tolist(), "idf": self.known.idf_.tolist()})
        )


class Subwords(Reader):
    """The subwords of a text (byte-pair encoding by Hugging Face's tokenizers; Sennrich et al. 2016)."""

    def __init__(self, model: spec.TextTransformer, training_texts: Sequence[str]) -> None:
        from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

        self.length = model.length
        self.known = Tokenizer(models.BPE())
        self.known.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        self.known.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        self.known.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=model.vocabulary,
            special_tokens=[_NOTHING],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        self.known.train_from_iterator(training_texts, trainer)
        self.known.enable_truncation(model.length)

    def inputs(self, texts: Sequence[str]) -> tuple[Int64[Tensor, "n k"], Bool[Tensor, "n k"]]:
        """The tokens of each text, and where there is one. A text of no tokens has one that means nothing."""
        found = [encoded.ids or [0] for encoded in self.known.encode_batch(list(texts))]
        lengths = np.array([len(ids) for ids in found])
        is_token = np.arange(lengths.max(initial=1)) < lengths[:, None]
        tokens = np.zeros(is_token.shape, dtype=np.int64)
        tokens[is_token] = np.concatenate(found)
        return torch.from_numpy(tokens), torch.from_numpy(is_token)

    def vocabulary(self) -> UInt8[Tensor, " bytes"]:
        """The tokenizer, as `tokenizers.Tokenizer.from_str` reads it."""
        return _as_bytes(self.known.to_str())


_WORD = r"(?u)\b\w+\b"
"""Words of one letter are words, as the "I" of a question."""
_NOTHING = "[nothing]"


def _as_bytes(text: str) -> UInt8[Tensor, " bytes"]:
    return torch.from_numpy(np.frombuffer(text.encode(), dtype=np.uint8).copy())
