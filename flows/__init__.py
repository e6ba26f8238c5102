"""When it runs: the only importers of Prefect."""
