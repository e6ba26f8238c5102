"""One file a foreign layout; the file name is the name given to `--format`."""
