"""Networks of our own, and torchvision's by name."""
