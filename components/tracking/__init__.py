"""MLflow runs. mlflow is imported here and in components/registry alone."""
