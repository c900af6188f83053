"""The data: scikit-learn's 1,797 scanned digits, offline, as small RGB images."""

import torch
from torch.utils.data import DataLoader, TensorDataset

SPLIT_SIZES = {"train": 1497, "validation": 150, "test": 150}


def digits():
    """The data set in three fixed parts: `train, validation, test = digits()`.

    Returns:
        Three `TensorDataset`s of 1497, 150 and 150 pairs `(image, label)`: images float32
        of shape (3, 32, 32) with values from -1 (paper) to 1 (ink), labels int64 from 0 to 9.
        Every call gives the same images in the same order.

    Source: `sklearn.datasets.load_digits`, 8×8 scans from the UCI repository (E. Alpaydin,
    C. Kaynak, 1998), enlarged here to the size that torchvision's models can work with.
    """
    from sklearn.datasets import load_digits  # takes a second: only who needs images waits

    scans, labels = load_digits(return_X_y=True)
    images = torch.tensor(scans, dtype=torch.float32).reshape(-1, 1, 8, 8) / 8 - 1
    images = torch.nn.functional.interpolate(images, size=(32, 32), mode="bilinear")
    images = images.expand(-1, 3, -1, -1).contiguous()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    parts = order.split(list(SPLIT_SIZES.values()))
    labels = torch.tensor(labels)
    return tuple(TensorDataset(images[part], labels[part]) for part in parts)


def loader(dataset, batch_size=50, *, shuffle=False, seed=0):
    """Batches of `dataset`; a shuffled loader's order depends on `seed` alone.

    Yields:
        `(images, labels)`: float32 of shape (batch_size, 3, 32, 32), int64 of (batch_size,).
        The last batch may be smaller.
    """
    generator = torch.Generator().manual_seed(seed) if shuffle else None
    return DataLoader(dataset, batch_size, shuffle=shuffle, generator=generator)
