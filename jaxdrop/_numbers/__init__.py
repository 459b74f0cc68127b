"""Conversion of numbers from the host: Python, NumPy, lists, pandas.

Unless x64 is enabled, JAX converts them to 32 bits: int64 wraps, Python integers of
``2**31`` and more raise without naming an argument, and different float64 values become
equal. Functions that take data first pass each argument through one of these functions,
with the name of the argument:

* :func:`as_array`: for any use. Integers that do not fit become floats and never wrap;
  floats are rounded; numbers that are too large for a float raise.
* :func:`as_labels`: for class labels. Labels beyond int32 become -1, which is not a
  class.
* :func:`as_ids`: for integers that are identifiers. Those beyond 32 bits raise.
* :func:`in_order`: if only the order matters, as in ranks and comparisons. Values that
  are equal in float32 are replaced by others in the same order.
* :func:`relative`: if only differences matter, as in errors and widths. They are
  computed in the precision of the arguments, and then rounded.
* :func:`in_parts`: for differences from arrays on the device.
* :func:`as_logits`: for a softmax; relative to the largest logit.
* :func:`as_scalar`: for one number that is a parameter and not data, and
  :func:`as_known` for one that is static.
* :func:`as_floats`: for drawing; float64 on the host.
* :func:`as_host`, and :func:`as_numbers` for numbers that may be on the device as well:
  numbers in their own precision, for computations in NumPy.

JAX arrays, traced or not, stay on the device, and so do numbers of at most 64 bits in
x64 mode. Together with a traced array, host numbers are rounded to floats, since values
cannot be compared or subtracted before the program runs. Decimals, fractions and
integers of any size are exact values.

:func:`is_numeric` is about dtypes: of leaves of a tree, whether they can be traced.
:func:`share_of_true` counts beyond the range of int32.
"""

from jaxdrop._numbers._counts import share_of_true as share_of_true
from jaxdrop._numbers._differences import as_logits as as_logits
from jaxdrop._numbers._differences import in_order as in_order
from jaxdrop._numbers._differences import relative as relative
from jaxdrop._numbers._host import as_floats as as_floats
from jaxdrop._numbers._host import as_host as as_host
from jaxdrop._numbers._host import as_numbers as as_numbers
from jaxdrop._numbers._host import is_numeric as is_numeric
from jaxdrop._numbers._values import as_array as as_array
from jaxdrop._numbers._values import as_ids as as_ids
from jaxdrop._numbers._values import as_known as as_known
from jaxdrop._numbers._values import as_labels as as_labels
from jaxdrop._numbers._values import as_real as as_real
from jaxdrop._numbers._values import as_scalar as as_scalar
from jaxdrop._numbers._values import in_parts as in_parts
