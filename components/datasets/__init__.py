"""Labelled datasets: manifest, shards, probes, and the prepared data that training reads."""
