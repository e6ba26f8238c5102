"""`darkroom explain`: what speaks for a model's answers to images of one's own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from components.errors import DataError, InputError

TUNED = Path("models") / "tuned"


def explain(home: Path, images: Sequence[Path], model: str | None, out: Path) -> int:
    """Explain files and folders; write a picture of each and print a line of each. Returns 2 if any image could not be read.

    Args:
        home: The `.darkroom` folder.
        images: Files and folders.
        model: NAME@champion, NAME/7, the folder of a bundle or of a trained model; None: the one that the project has evaluated.
        out: The folder of the pictures.

    Raises:
        InputError: There is no such image or model, or its task does not say what its answers are.
    """
    for path in images:
        if not path.exists():
            raise DataError(f"{path} not found")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: found a file; expected a folder for the pictures")
    folder = weights_of(home, model)

    from components.explanation.files import explain_files
    from components.explanation.methods import METHODS
    from components.explanation.subject import Subject, can_be_explained
    from components.training.model_files import load_model, load_spec
    from components.training.runtime import plain_runtime

    if not can_be_explained(task := load_spec(folder).task):
        raise InputError(f"{folder}: the task {task} does not say what its answers are, so none can be explained")
    found = list(explain_files(Subject.of(*load_model(folder), plain_runtime().device), images, out))
    width = max(len(str(one.path)) for one in found)
    for one in found:
        print(f"{one.path!s:<{width}}  {one.error or '  '.join(part for part in (*one.told, str(one.picture)) if part)}")
    print(f"{model or TUNED} explained; {out} has the pictures: the image, {', '.join(METHODS)}", file=sys.stderr)
    num_unread = sum(1 for one in found if one.error)
    if num_unread:
        print(f"{num_unread} of {len(found)} could not be read", file=sys.stderr)
    return InputError.exit_code if num_unread else 0


def weights_of(home: Path, model: str | None) -> Path:
    """Return the folder with weights.safetensors and spec.json of a model.

    Raises:
        InputError: There is none.
    """
    if model is None:
        if not (TUNED / "spec.json").exists():
            raise InputError(f"{TUNED} holds no model yet. Train one: darkroom run; or name one: --model NAME@champion")
        return TUNED
    if not Path(model).is_dir():
        from components.registry.versions import fetch_bundle
        from flows.parameters import require_registry

        require_registry(home.parent)
        return fetch_bundle(home, model) / "source"
    folders = [folder for folder in (Path(model), Path(model) / "source") if (folder / "weights.safetensors").exists()]
    if not folders:
        raise InputError(f"{model} holds no weights.safetensors, so it is neither a trained model nor a bundle")
    return folders[0]
