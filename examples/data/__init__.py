"""Data sets for the examples: small, from local files, with fixed splits."""

from data.files import DataError as DataError
from data.files import find as find
from data.images import Images as Images
from data.images import Split as Split
from data.images import load as load
