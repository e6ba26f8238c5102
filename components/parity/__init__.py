"""Proof that an artifact does what its model does: on real images, from the written file, through serving."""
