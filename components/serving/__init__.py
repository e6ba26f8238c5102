"""A bundle at work with onnxruntime alone: decode, orient, resize, predict. No torch in here."""
