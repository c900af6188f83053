"""Data, models, training and what is shown."""

import re
import zipfile

import pytest
import torch

from utils import show
from utils.data import digits, loader
from utils.models import SmallCNN
from utils.training import accuracy, seed_everything, train_epoch


@pytest.fixture(scope="module")
def parts():
    return digits()


def test_digits_are_split_once_and_for_all(parts):
    assert [len(part) for part in parts] == [1497, 150, 150]
    images, labels = parts[0].tensors
    assert images.shape == (1497, 3, 32, 32) and images.dtype == torch.float32
    assert images.min() == -1 and images.max() == 1 and labels.dtype == torch.int64
    again = digits()
    assert all(torch.equal(a.tensors[0], b.tensors[0]) for a, b in zip(parts, again))
    rows = torch.cat([part.tensors[0].flatten(1) for part in parts])
    assert len(rows.unique(dim=0)) >= 1790  # a few of the scans occur twice in the original
    for part in parts:
        assert set(part.tensors[1].tolist()) == set(range(10))


def test_a_loader_depends_on_its_seed_alone(parts):
    def order(seed):
        return [labels.tolist() for _, labels in loader(parts[1], shuffle=True, seed=seed)]

    torch.manual_seed(1)
    first = order(5)
    torch.manual_seed(2)
    assert first == order(5) != order(6)
    plain = [labels for _, labels in loader(parts[1], 40)]
    assert [len(labels) for labels in plain] == [40, 40, 40, 30]
    assert torch.equal(torch.cat(plain), parts[1].tensors[1])


def test_the_small_model_really_learns(parts):
    train, _, test = parts
    seed_everything(0)
    model = SmallCNN()
    assert sum(p.numel() for p in model.parameters()) == 10_266
    batches = loader(train, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 3 * len(batches))
    losses = [train_epoch(model, batches, optimizer, scheduler) for _ in range(3)]
    assert losses[0] > losses[1] > losses[2] > 0
    assert scheduler.last_epoch == 3 * len(batches) and model.training
    assert accuracy(model.eval(), loader(test)) > 0.9
    assert SmallCNN(num_classes=7, width=8)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_accuracy_counts():
    class Says(torch.nn.Module):
        def forward(self, images):
            return torch.eye(3)[[0, 1, 1, 2]]

    batches = [(torch.zeros(4, 1), torch.tensor([0, 1, 2, 2]))]
    assert accuracy(Says(), batches) == 0.75


def test_seeds_reach_all_three_generators():
    import random

    import numpy as np

    def draw():
        seed_everything(3)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()


def test_a_table_is_aligned_and_escaped():
    table = show.Table(["name", "bytes"], [("a<b", 1234), ("long name", 5)])
    assert repr(table).splitlines() == ["name       bytes", "a<b        1,234", "long name      5"]
    page = table._repr_html_()
    assert "a&lt;b" in page and "text-align: right;" in page
    assert repr(show.Table(["empty"], [])) == "empty"


@pytest.fixture
def path(tmp_path):
    torch.save({"w": torch.ones(1000), "b": torch.zeros(10)}, tmp_path / "x.pt")
    return tmp_path / "x.pt"


def test_the_anatomy_of_a_file_adds_up(path):
    rows = {row[0]: int(row[1].replace(",", "")) for row in show.anatomy(path, storages=1).rows}
    with zipfile.ZipFile(path) as archive:
        assert sum(rows.values()) == sum(info.file_size for info in archive.infolist())
    assert rows["data/0"] == 4000 and rows["… and 1 more"] == 40
    assert all(row[2] for row in show.anatomy(path).rows), "an entry that nobody explains"
    names = show.pickle_names(path)
    assert "torch.FloatStorage" in names and "torch._utils._rebuild_tensor_v2" in names


def test_what_is_no_zip_is_refused(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"no zip")
    with pytest.raises(zipfile.BadZipFile):
        show.anatomy(tmp_path / "x.pt")


def test_pictures_say_their_message_in_words(path):
    images = torch.zeros(2, 3, 32, 32)
    pictures = {
        show.file_map(path): r"the numbers themselves \d\d%; the pickle.* \d+%; zip headers",
        show.digit_images(
            images, torch.tensor([1, 2]), torch.tensor([1, 3])
        ): "right for ≈ 1 of them",
        show.accuracy_bars(
            {2: (0.9, 0.4), 50: (0.9, 0.8)}
        ): "batch size: True; .* every time: True",
        show.accuracy_bars({2: (0.9, 0.4), 50: (0.8, 0.9)}): "size: False; .* every time: False",
        show.photographs(100 * images, ["palace", "daisy"]): "2 photographs, .*: palace, daisy",
    }
    for picture, words in pictures.items():
        assert re.search(words, repr(picture))
        data, metadata = picture._repr_mimebundle_()
        assert data["image/png"].startswith(b"\x89PNG") and data["text/plain"] == repr(picture)
        assert metadata["image/png"]["alt"] == repr(picture)
