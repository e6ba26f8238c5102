"""The random policy on whole batches, on the device they are trained on: images, and what boxes and masks do with them."""
