"""unetkit: the U-Net as a complete system."""

__version__ = "0.1.0"
