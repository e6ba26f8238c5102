"""A task's outputs to predictions, torch-free; the file name is `task.name`."""
