"""cnnbench: compare convolutional networks at an equal tuning budget, and say which differences are real."""

__version__ = "0.1.0"
