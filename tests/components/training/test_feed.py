from __future__ import annotations

import numpy as np
import torch

from components.training.feed import Feed, derived_seed


def feed(num: int = 10, batch_size: int = 4, seed: int = 0, order: np.ndarray | None = None) -> Feed:
    images = np.arange(num, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 2, 3, 1), dtype=np.uint8)
    return Feed(images, list(range(num)), np.arange(num) if order is None else order, batch_size, seed, torch.device("cpu"))


def numbers(batches: list[tuple[torch.Tensor, list[int]]]) -> list[list[int]]:
    for images, targets in batches:
        assert images.shape == (len(targets), 1, 2, 3)
        assert images.dtype == torch.uint8
        assert images[:, 0, 0, 0].tolist() == targets  # image and target belong together
    return [targets for _, targets in batches]


def test_every_image_comes_and_every_batch_is_full() -> None:
    batches = numbers(list(feed().batches(1)))
    assert [len(batch) for batch in batches] == [4, 4, 4]
    flat = [number for batch in batches for number in batch]
    assert set(flat) == set(range(10))
    assert flat[10:] == flat[:2]


def test_order_is_a_function_of_seed_and_epoch_and_goes_on_from_any_batch() -> None:
    whole = numbers(list(feed().batches(3)))
    assert numbers(list(feed().batches(3, first=1))) == whole[1:]
    assert numbers(list(feed().batches(4))) != whole
    assert numbers(list(feed(seed=1).batches(3))) != whole


def test_a_batch_is_never_larger_than_an_epoch() -> None:
    assert feed(num=3, batch_size=64).batch_size == 3


def test_an_order_repeats_images() -> None:
    batches = numbers(list(feed(order=np.array([0, 0, 0, 5])).batches(1)))
    assert sorted(batches[0]) == [0, 0, 0, 5]


def test_seeds_differ() -> None:
    assert len({derived_seed(a, b, c) for a in range(5) for b in range(5) for c in range(5)}) == 125
