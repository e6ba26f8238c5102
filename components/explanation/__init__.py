"""Where in an image is what speaks for an answer: heat maps, and whether they say more than chance."""
