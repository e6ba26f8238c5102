"""A trained model in, a smaller trained model out."""
