"""A task's figures of an evaluation; the file name is `task.name`. Apart from the metrics, so that a changed figure never re-trains."""
