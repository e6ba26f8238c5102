"""A task's targets and metrics, torch-free; the file name is `task.name`."""
