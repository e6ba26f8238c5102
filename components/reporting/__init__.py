"""The run as one page for people."""
