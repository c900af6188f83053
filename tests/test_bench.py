"""bench.py measures each way of saving and loading, and says when there is no room."""

import os
import re

from utils.tools import bench


def test_the_bench_measures_and_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench, "SIZES", {"1 MB": (4, 1 << 16)})
    monkeypatch.setattr(bench, "ROUNDS", 1)
    monkeypatch.setattr(bench, "SPACE", 1)
    assert bench.main([str(tmp_path)]) == 0
    output = capsys.readouterr().out
    for way in [*bench.SAVES, *bench.LOADS]:
        assert re.search(rf"^{re.escape(way)} +[\d.]+ +\d+\.\d\d ", output, re.M), way
    assert len(re.findall(r" +\d\.\d+ +(?:True|False)$", output, re.M)) >= 3
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(bench, "SPACE", 1 << 60)
    assert bench.main([str(tmp_path)]) == 1 and bench.main([str(tmp_path / "none")]) == 1
    assert "are needed" in capsys.readouterr().out
