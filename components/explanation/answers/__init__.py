"""What of a task's predictions can be explained; the file name is `task.name`. Apart from the task, so that a changed explanation never re-trains."""
