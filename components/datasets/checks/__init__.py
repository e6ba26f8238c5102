"""What is wrong with the data, found before training: one file a kind of check."""
