"""unetkit: the U-Net as a complete system."""
