"""One technique per file, lifted to the package by ``jaxdrop/__init__.py``."""
