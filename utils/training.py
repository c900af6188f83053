"""Just enough training to have weights worth saving: one epoch, and its evaluation."""

import random

import numpy as np
import torch
from torch.nn.functional import cross_entropy

# These models are too small to gain from threads, and lose by them: where other programs keep the
# processors busy, threads that wait for each other make an epoch of one second last over a minute.
torch.set_num_threads(1)


def seed_everything(seed):
    """Seed Python's, NumPy's and torch's global random number generators (`seed`: an int)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def train_epoch(model, batches, optimizer, scheduler=None):
    """Train `model`, in train mode, on every batch once; a `scheduler` steps after each batch.

    Returns:
        The mean cross-entropy loss per image in nats, a float.
    """
    model.train()
    total = count = 0
    for images, labels in batches:
        optimizer.zero_grad()
        loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        total += loss.item() * len(labels)
        count += len(labels)
    return total / count


def train_for_a_moment(model, batches=1):
    """Move every weight and running statistic of `model` by a few steps on random images.

    For checks that need a model which is no longer as it was built. Without an optimizer: the first
    one in a process imports torch._dynamo, and somebody would wait for that.
    """
    model.train()
    for _ in range(batches):
        logits = model(torch.randn(20, 3, 32, 32))
        cross_entropy(logits, torch.randint(logits.shape[1], (20,))).backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 0.1 * weight.grad
                weight.grad = None


@torch.no_grad()
def accuracy(model, batches):
    """The share of images that `model` classifies correctly, a float from 0 to 1.

    The model is used in the mode it is in: call `model.eval()` first, as the lessons explain.
    """
    right = count = 0
    for images, labels in batches:
        right += (model(images).argmax(dim=1) == labels).sum().item()
        count += len(labels)
    return right / count
