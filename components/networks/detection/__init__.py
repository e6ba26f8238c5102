"""Detectors: our own YOLO, and those of torchvision."""
