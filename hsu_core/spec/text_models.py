"""Which networks take texts, and what is each made of?"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hsu_core.spec.facts import TextFacts
from hsu_core.spec.geometry import Geometry, Layer, transformer_block
from hsu_core.spec.values import WHOLE, Fraction, Spec, Width, fault

__all__ = ["BagOfNgrams", "BuiltInTextModel", "TextTransformer"]

Vocabulary = Annotated[int, Field(ge=64, le=1_000_000), WHOLE]


class BagOfNgrams(Spec):
    """The mean of the embeddings of a text's n-grams of words, weighted by TF-IDF, and a linear classifier.

    The model of Joulin et al. 2017 (arXiv 1607.01759) with the weights of Salton and Buckley 1988.
    """

    kind: Literal["bag_of_ngrams"] = "bag_of_ngrams"
    vocabulary: Vocabulary = 8192
    """Rows of the table: the n-grams that are most frequent in the training texts."""
    longest: Annotated[int, Field(ge=1, le=5), WHOLE] = 2
    """Number of words in the longest n-gram."""
    width: Width = 64
    """Numbers in an embedding."""

    def geometry(self, facts: TextFacts) -> Geometry:
        """`embedding`, then `classifier`."""
        return Geometry(
            (
                Layer("embedding", "embedding", self.vocabulary, self.width),
                Layer("classifier", "linear", facts.classes, self.width, bias=True, is_final=True),
            )
        )


class TextTransformer(Spec):
    """A small pre-norm transformer over subwords (Vaswani et al. 2017; Xiong et al. 2020, arXiv 2002.04745).

    It has learned positions and GELU. A linear classifier reads the mean of all tokens.
    """

    kind: Literal["text_transformer"] = "text_transformer"
    vocabulary: Vocabulary = 4096
    """Number of tokens. They are subwords, learned from the training texts by byte-pair encoding."""
    length: Annotated[int, Field(ge=2, le=4096), WHOLE] = 64
    """Number of tokens of a text that are read; the rest is cut off."""
    width: Width = 128
    heads: Annotated[int, Field(ge=1, le=64), WHOLE] = 4
    depth: Annotated[int, Field(ge=1, le=64), WHOLE] = 2
    """Number of blocks. Each has attention and two linear layers."""
    dropout: Fraction = 0.1
    """Fraction of the numbers that is dropped during training."""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> TextTransformer:
        if self.width % self.heads:
            raise fault("heads", "heads_do_not_divide", f"heads must divide the width {self.width}, found {self.heads}")
        return self

    def geometry(self, facts: TextFacts) -> Geometry:
        """`tokens`, `positions`, of each block `query`, `key`, `value`, `out`, `up` and `down`, then `classifier`."""
        width, length = self.width, self.length
        blocks = [
            layer
            for number in range(self.depth)
            for layer in transformer_block(f"blocks.{number}", width, positions=length)
        ]
        return Geometry(
            (
                Layer("tokens", "embedding", self.vocabulary, width, positions=length),
                Layer("positions", "embedding", length, width, positions=length),
                *blocks,
                Layer("classifier", "linear", facts.classes, width, bias=True, is_final=True),
            ),
            other_parameters=2 * width * (2 * self.depth + 1),  # norms
            other_flops=4 * self.depth * length**2 * width,
            other_kept=self.depth * length * (5 * width + 2 * self.heads * length),
        )


BuiltInTextModel = BagOfNgrams | TextTransformer
