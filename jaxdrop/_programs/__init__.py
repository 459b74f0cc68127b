"""Reading and building traced programs: all assumptions about the jaxprs of JAX.

JAX may change jaxprs in any release. All code of this library that reads them does so
through this package, and ``tests/programs`` checks each assumption against the
installed JAX. Unrecognized structures are reported as :class:`Unknown`, never guessed.

* ``program_of``, ``constants_of``, ``programs_in``: programs and their parts.
* ``is_array``, ``is_key``, ``is_literal``, ``aval_of``, ``variables``: operands.
* ``structure_of``: whether an equation is a ``Call``, a ``Choice``, a ``Loop`` or
  ``Unknown``, with its programs and the roles of its operands.
* ``jitted_name``, ``argument_names``, ``inlinable``: calls of jitted functions.
* ``scopes_of``, ``source_frames``: where in the source an equation comes from.
* ``forwarded``: which outputs of a program are unchanged inputs.
* ``traced``, ``built``, ``run``: tracing functions, building programs from the
  equations of others, running them.
* ``VIEWS``, ``IDENTITIES``, ``LAYOUT``, ``ELEMENTWISE``, ``CHEAP``: properties of
  primitives.
"""

from jaxdrop._programs._forwarding import forwarded as forwarded
from jaxdrop._programs._primitives import CHEAP as CHEAP
from jaxdrop._programs._primitives import ELEMENTWISE as ELEMENTWISE
from jaxdrop._programs._primitives import IDENTITIES as IDENTITIES
from jaxdrop._programs._primitives import LAYOUT as LAYOUT
from jaxdrop._programs._primitives import VIEWS as VIEWS
from jaxdrop._programs._reading import Equation as Equation
from jaxdrop._programs._reading import Program as Program
from jaxdrop._programs._reading import Variable as Variable
from jaxdrop._programs._reading import argument_names as argument_names
from jaxdrop._programs._reading import aval_of as aval_of
from jaxdrop._programs._reading import built as built
from jaxdrop._programs._reading import constants_of as constants_of
from jaxdrop._programs._reading import fresh_variable as fresh_variable
from jaxdrop._programs._reading import inlinable as inlinable
from jaxdrop._programs._reading import is_array as is_array
from jaxdrop._programs._reading import is_key as is_key
from jaxdrop._programs._reading import is_literal as is_literal
from jaxdrop._programs._reading import jitted_name as jitted_name
from jaxdrop._programs._reading import program_of as program_of
from jaxdrop._programs._reading import programs_in as programs_in
from jaxdrop._programs._reading import run as run
from jaxdrop._programs._reading import scopes_of as scopes_of
from jaxdrop._programs._reading import source_frames as source_frames
from jaxdrop._programs._reading import traced as traced
from jaxdrop._programs._reading import variables as variables
from jaxdrop._programs._structure import Call as Call
from jaxdrop._programs._structure import Choice as Choice
from jaxdrop._programs._structure import Loop as Loop
from jaxdrop._programs._structure import Structure as Structure
from jaxdrop._programs._structure import Unknown as Unknown
from jaxdrop._programs._structure import structure_of as structure_of
