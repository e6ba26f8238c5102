import numpy as np

from components.evaluation.figures.classification import plugin as draw
from components.evaluation.metrics.classification import plugin as evaluator_of


def test_pictures_are_the_same_bytes_each_time(tmp_path):
    evaluator = evaluator_of(["ant", "bee", "cat"])
    generator = np.random.default_rng(3)
    statistics = evaluator.statistics(generator.dirichlet(np.ones(3), 60), generator.integers(0, 3, 60))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        draw(evaluator, statistics, tmp_path / name)
    drawn = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert drawn == ["confusion.png", "reliability.png"]
    assert all((tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes() for name in drawn)
