"""Networks that name each pixel: our own U-Net, and those of torchvision. Input images_NCHW, output logits (N, classes, H, W)."""
