"""Versions of a dataset: git tags that name a `.dvc` file, whose bytes DVC keeps."""
