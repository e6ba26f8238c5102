import json

import pytest

from components.errors import ConfigError, InputError
from components.registry.bundle import training_images
from components.registry.compare import refuse_overlap
from components.registry.config import PromoteConfig
from components.registry.promote import judge_and_promote
from components.registry.testset import open_test_images
from flows.starting import START, start_from_champion, wants_champion
from tests.components.registry.conftest import Project, prepared_project  # noqa: F401 - a fixture
from tests.components.registry.conftest import project as trained  # noqa: F401 - a fixture


def test_a_model_that_goes_on_from_the_champion_knows_the_champions_images(trained: Project) -> None:  # noqa: F811
    params = trained.root / "params.yaml"
    assert not wants_champion(trained.root)
    with pytest.raises(ConfigError, match="no model is registered yet"):
        start_from_champion(trained.root, trained.home, "toy")
    trained.train(accuracy=0.9)
    first = trained.register()
    judge_and_promote(trained.root, trained.home, "toy", first.version, PromoteConfig())

    params.write_text(params.read_text().replace("train: {", "train: {init: registered, "))
    assert wants_champion(trained.root)
    start_from_champion(trained.root, trained.home, "toy")
    assert json.loads((trained.root / START / "start.json").read_text()) == {"source": "models:/toy/1"}

    trained.set_sides(lambda number: "train" if number % 3 == 0 else "test")  # the champion's training images judge now
    trained.train(accuracy=0.95)
    second = trained.register()
    assert set(training_images(first.bundle)) < set(training_images(second.bundle))
    with pytest.raises(InputError, match="400 of the 400 test images were among the training or validation images of toy/2"):
        refuse_overlap("toy/2", second.bundle, open_test_images(trained.root, "toy"))
