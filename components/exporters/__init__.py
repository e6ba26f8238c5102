"""One file an export format; the file name is the name in `export.formats`."""
