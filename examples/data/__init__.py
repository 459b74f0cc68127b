"""Data sets for the examples: small, from local files, with fixed splits."""

from data.files import DataError as DataError
from data.files import find as find
from data.images import Images as Images
from data.images import Split as Split
from data.images import load as load
from data.regression import Regression as Regression
from data.regression import load_regression as load_regression
from data.regression import load_series as load_series
from data.text import Text as Text
from data.text import load_text as load_text
