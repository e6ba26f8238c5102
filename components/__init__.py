"""What each step of Darkroom does. Nothing in here knows of Prefect."""
