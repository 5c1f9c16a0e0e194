"""What does the spec of a text classification contain?"""

from __future__ import annotations

from typing import Annotated, Literal

from hsu_core.spec.batched import BatchedSpec
from hsu_core.spec.datasets import TextDataset
from hsu_core.spec.evaluate import NO_PIXELS
from hsu_core.spec.losses import CrossEntropy
from hsu_core.spec.models import TextModel
from hsu_core.spec.optimizers import AdamW, Optimizer
from hsu_core.spec.text_models import TextTransformer
from hsu_core.spec.training import Load, Metric
from hsu_core.spec.values import Count, left_out_at

__all__ = ["TextsSpec"]


class TextsSpec(BatchedSpec):
    """A network that predicts the class of a text, trained with cross entropy.

    Its vocabulary is learned from the training texts and is part of every checkpoint.
    """

    measured = ("accuracy",)
    evaluated = ("test_loss", "test_accuracy")
    examples = "texts"
    primary = Metric("test_accuracy")
    unevaluated = NO_PIXELS

    task: Literal["texts"] = "texts"
    dataset: TextDataset
    model: TextModel
    optimizer: Optimizer = AdamW()
    batch_size: Count = 64
    loss: Annotated[CrossEntropy, left_out_at(CrossEntropy())] = CrossEntropy()

    def indivisible(self, processes: int) -> str | None:
        """Dropout draws for a whole batch: its parts would draw something else."""
        if processes > 1 and isinstance(self.model, TextTransformer) and self.model.dropout:
            return f"dropout: several processes train without it (0), found {self.model.dropout:g}"
        return super().indivisible(processes)

    @property
    def load(self) -> Load:
        """A batch of texts, and the data set as token numbers in int64."""
        facts, tokens = self.dataset.facts, self.model.length if isinstance(self.model, TextTransformer) else 64
        return Load(self.batch_size, tokens, data=8 * tokens * (facts.train + facts.test))
