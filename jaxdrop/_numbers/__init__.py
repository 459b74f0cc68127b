"""The one door for numbers that come from the host: Python, NumPy, lists, pandas.

JAX converts them to 32 bits unless x64 is enabled: int64 wraps, Python integers from
``2**31`` on raise without naming an argument, and float64 values become equal. A
function that takes data passes each argument through one of these first, under the
argument's name:

* :func:`as_array`: for any use. Integers that do not fit become floats and never wrap;
  floats are rounded; what is too large for a float raises.
* :func:`as_labels`: for class labels. What no int32 holds becomes -1, which names no
  class.
* :func:`as_ids`: for integers that name something. What no 32 bits hold raises.
* :func:`in_order`: where only the order counts, as in ranks and comparisons. Values
  that float32 cannot tell apart are replaced by others in their order.
* :func:`relative`: where only differences count, as in errors and widths. They are
  taken in the precision of the arguments, and then rounded.
* :func:`in_parts`: for differences from what is known on the device only.
* :func:`as_logits`: for what goes into a softmax; relative to the largest logit.
* :func:`as_scalar`: for one number that is a parameter, and not data.
* :func:`as_host`, and :func:`as_numbers` for what may be on the device as well:
  numbers in their own precision, for computations in NumPy.

JAX arrays, traced or not, stay on the device, and so does everything in x64 mode that
64 bits hold. Beside a traced array host numbers are rounded to floats, because nothing
can be compared or subtracted before the program runs. Decimals, fractions and integers
of any size are taken as exact values.

:func:`share_of_true` counts what int32 cannot.
"""

from jaxdrop._numbers._counts import share_of_true as share_of_true
from jaxdrop._numbers._differences import as_logits as as_logits
from jaxdrop._numbers._differences import in_order as in_order
from jaxdrop._numbers._differences import relative as relative
from jaxdrop._numbers._host import as_host as as_host
from jaxdrop._numbers._host import as_numbers as as_numbers
from jaxdrop._numbers._values import as_array as as_array
from jaxdrop._numbers._values import as_ids as as_ids
from jaxdrop._numbers._values import as_labels as as_labels
from jaxdrop._numbers._values import as_real as as_real
from jaxdrop._numbers._values import as_scalar as as_scalar
from jaxdrop._numbers._values import in_parts as in_parts
