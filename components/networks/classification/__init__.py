"""Networks that name an image."""
