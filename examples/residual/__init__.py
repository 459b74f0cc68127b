"""A small residual network and its regularizers, for ``image_regularizers.py``."""
