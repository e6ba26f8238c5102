"""What is learnt (torch): one file a task; the file name is `task.name` in params.yaml."""
