from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from components.errors import InputError
from components.protocols import Context
from components.training.checkpoint import Checkpoints


def test_the_latest_two_are_kept_and_the_latest_is_given(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "a")
    for number in (1, 2, 10):
        checkpoints.save(number, {"weights": torch.full((3,), float(number)), "epoch": number, "history": [{"loss": 0.5}], "best": None})
    assert len(list(tmp_path.iterdir())) == 2
    latest = checkpoints.latest()
    assert latest is not None
    assert latest["epoch"] == 10
    assert torch.equal(latest["weights"], torch.full((3,), 10.0))
    assert Checkpoints(tmp_path, "b").latest() is None


def test_those_of_another_training_however_far_it_came_do_not_push_out_ones_own(tmp_path: Path) -> None:
    before = Checkpoints(tmp_path, "a")
    for number in (100, 200):
        before.save(number, {"epoch": number})
    now = Checkpoints(tmp_path, "b")
    assert now.latest() is None
    now.save(1, {"epoch": 1})
    assert now.latest() == {"epoch": 1}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_one_gives_way_to_the_one_before_and_is_named(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    checkpoints = Checkpoints(tmp_path, "a")
    checkpoints.save(1, {"epoch": 1})
    checkpoints.save(2, {"epoch": 2})
    newest = max(tmp_path.iterdir())
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"cut": bytes(content[:-100]), "flipped": bytes(content), "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        assert checkpoints.latest() == {"epoch": 1}
    assert f"checkpoint {newest.name} is damaged" in caplog.text


def test_no_folder_keeps_nothing(tmp_path: Path) -> None:
    checkpoints = Checkpoints(None, "a")
    checkpoints.save(1, {"epoch": 1})
    assert checkpoints.latest() is None


def test_a_full_disk_is_told_and_the_older_checkpoints_stay(problem: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("components.training.checkpoint.os.fsync", full)
    with pytest.raises(InputError, match="the disk is full"):
        problem.fit(problem.model(), Context(scratch=tmp_path))
    assert list((tmp_path / "checkpoints").iterdir()) == []
