"""Model versions in MLflow: register, compare, promote, roll back, lineage."""
