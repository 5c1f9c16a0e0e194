"""The callbacks with the real trainers: `make slow` installs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hsu_client.client import Client
from hsu_client.tracking import Run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
Begun = Callable[..., Run]
DATA = torch.utils.data.TensorDataset(torch.randn(40, 6), torch.randint(3, (40,)))


def curves(client: Client, run: Run) -> dict[tuple[str, str], list[int]]:
    assert run.id is not None
    return {(curve.layer or "", curve.measure): list(curve.steps) for curve in client.curves(run.id)}


def test_lightnings_trainer_logs_into_a_run_and_records_the_energies(
    client: Client, tracked: Begun, tmp_path: Path
) -> None:
    lightning = pytest.importorskip("lightning", reason="make slow installs lightning")
    from hsu_client.tracking.lightning import Tracked

    class Small(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(6, 3)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            loss = torch.nn.functional.cross_entropy(self.head(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("val_loss", torch.nn.functional.cross_entropy(self.head(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    batches = torch.utils.data.DataLoader(DATA, batch_size=4)
    with tracked() as run:
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            log_every_n_steps=5,
            callbacks=[Tracked(run, measure_every=10)],
            logger=lightning.pytorch.loggers.CSVLogger(tmp_path),
            default_root_dir=tmp_path,
            enable_progress_bar=False,
        )
        trainer.fit(Small(), batches, batches)
    found = curves(client, run)
    assert found["", "loss"] == [4, 9, 14, 19]
    assert found["", "val_loss"] == [9, 19]
    assert found["head", "mhe_s2"] == [9, 19]


def test_hugging_faces_trainer_logs_into_a_run_and_stops_when_its_owner_asks(
    client: Client, tracked: Begun, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="make slow installs transformers")
    pytest.importorskip("accelerate", reason="make slow installs accelerate")
    from hsu_client.tracking.transformers import Tracked

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(6, 3)

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            logits = self.head(x)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    examples = [{"x": x, "labels": y} for x, y in DATA]
    with tracked() as run:
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path), max_steps=20, logging_steps=5, report_to=[], use_cpu=True, save_strategy="no",
            per_device_train_batch_size=4, disable_tqdm=True,
        )  # fmt: skip
        callbacks = [Tracked(run, measure_every=10)]
        trainer = transformers.Trainer(model=Small(), args=arguments, train_dataset=examples, callbacks=callbacks)
        trainer.train()
    found = curves(client, run)
    assert found["", "loss"] == [5, 10, 15, 20]
    assert found["", "train_loss"] == [20]
    assert found["head", "mhe_s2"] == [10, 20]

    with tracked() as run:
        assert run.id is not None
        client.cancel(run.id)
        arguments.max_steps = 10**6
        callbacks = [Tracked(run)]
        transformers.Trainer(model=Small(), args=arguments, train_dataset=examples, callbacks=callbacks).train()
    assert client.job(run.id)["state"] == "cancelled"
