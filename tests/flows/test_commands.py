from components.registry.publish import fetch_champion
from flows.commands import promote_model
from tests.components.registry.conftest import Project, prepared_project  # noqa: F401 - a fixture
from tests.components.registry.conftest import project as trained  # noqa: F401 - a fixture


def test_a_version_that_is_named_by_its_alias_is_promoted_and_published(trained: Project) -> None:  # noqa: F811
    trained.train(accuracy=0.9)
    registered = trained.register()
    said = promote_model(trained.root, "toy@challenger", "by hand", override=False)
    assert "promoted: by hand. toy/1 is the first" in said
    store = trained.root / ".darkroom" / "releases"
    assert fetch_champion(f"file://{store}", "toy", trained.root / "deployed").name == "deployed"
    assert f"published at file://{store}/toy/1-{registered.digest[:12]}" in said
