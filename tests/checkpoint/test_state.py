"""checkpoint.py, a state of training: captured, and restored to the same bits."""

import random

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from utils import checkpoint
from utils.checking import fresh
from utils.checkpoint import CheckpointError, capture, restore
from utils.models import SmallCNN
from utils.training import train_epoch


def build():
    model = SmallCNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": OneCycleLR(optimizer, 0.1, total_steps=12),
        "scaler": torch.amp.GradScaler("cpu", init_scale=1024.0),
        "ema": AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True),
        "order": torch.Generator().manual_seed(5),
    }


def epoch_of(parts):
    """Images from all four generators: torch's, one of our own, Python's, NumPy's."""
    for _ in range(3):
        images = torch.randn(10, 3, 32, 32, generator=parts["order"]) * random.random()
        batch = images + np.random.rand(), torch.arange(10)
        train_epoch(parts["model"], [batch], parts["optimizer"], parts["scheduler"])
        parts["scaler"].scale(torch.ones(()))
        parts["ema"].update_parameters(parts["model"])


def resumed_elsewhere(path):
    torch.set_num_threads(1)
    parts = build()
    state = checkpoint.load(path)
    restore(state, **parts)
    assert state["position"] == {"epoch": 2}
    for _ in range(2):
        epoch_of(parts)
    return capture(**parts)


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    from utils.checking.errors import same

    torch.set_num_threads(1)
    parts = build()
    for _ in range(2):
        epoch_of(parts)
    path = checkpoint.save(tmp_path / "x.pt", capture(**parts, position={"epoch": 2}))
    for _ in range(2):
        epoch_of(parts)
    ended = fresh.call(resumed_elsewhere, path, timeout=60)
    assert same(ended, capture(**parts)), [
        k for k in ended if not same(ended[k], capture(**parts)[k])
    ]


def test_restore_changes_nothing_if_something_does_not_fit():
    saved = capture(**build())
    cases = [
        ({"other": torch.nn.Linear(1, 1)}, "No other in it, only model, optimizer"),
        ({"ema": SmallCNN()}, "ema does not fit at .* keys, first .*missing"),
        (
            {"model": SmallCNN(num_classes=7)},
            r"2 keys, first head.weight: \(10, 512\), here \(7, 512\)",
        ),
        ({"optimizer": torch.optim.SGD(SmallCNN().features.parameters(), lr=1)}, "parameter group"),
    ]
    for wrong, words in cases:
        parts = {"model": SmallCNN(), **wrong}
        before = {k: v.clone() for k, v in parts["model"].state_dict().items()}
        rng = torch.get_rng_state()
        with pytest.raises((CheckpointError, ValueError), match=words):
            restore(saved, **parts)
        after = parts["model"].state_dict()
        assert all(torch.equal(after[k], before[k]) for k in before)
        assert torch.equal(torch.get_rng_state(), rng)
    model = SmallCNN()
    restore({"model": saved["model"]}, rng=False, model=model, scaler=None)
    assert torch.equal(model.head.weight, saved["model"]["head.weight"])
    with pytest.raises(CheckpointError, match="No rng in it"):
        restore({"model": saved["model"]}, model=model)
