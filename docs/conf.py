"""How the site is built: ``sphinx-build -W -n docs site``."""

import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import jaxdrop  # noqa: E402

project = "jaxdrop"
author = "The jaxdrop authors"
copyright = author
version = release = jaxdrop.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "myst_parser",
    "sphinx_copybutton",
    "choose",
    "gallery",
    "pictures",
    "reference",
]
exclude_patterns = ["_ext", "_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 72
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_custom_sections = ["Usage"]  # of a technique: the usual place and rate

# Types of other libraries, whose sites cannot be asked while this one is built.
nitpick_ignore_regex = [
    (r"py:.*", r"(jax|jaxlib|flax|optax|np|numpy|nnx|nn|collections|typing)\..*"),
    (r"py:.*", r"jaxdrop\.(\w+\.)?_.*"),  # private bases and type variables
    # Methods that docstrings which are inherited from Flax name.
    (r"py:meth", r"(apply|init|init_and_output|__setattr__|compact)"),
    (r"py:func", r"log_sigmoid"),
    (r"py:class", r"(MaskedCarry|KeyedCarry|The .* calibration error)"),
    (
        r"py:.*",
        r"(Figure|Axes|_T|Array|ArrayLike|Key|Rate|Flag|PyTree|Path|Where|Schedule)",
    ),
]

linkcheck_timeout = 30
linkcheck_retries = 3
linkcheck_anchors = False  # of pages that are made by scripts, they are not in the HTML
linkcheck_ignore = [r"https://doi\.org/"]  # publishers refuse programs
linkcheck_allowed_redirects = {r".*": r".*"}

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
copybutton_copy_empty_lines = False

mathjax4_config = {"output": {"displayOverflow": "linebreak"}}  # on narrow pages

pygments_dark_style = "monokai"
html_theme = "furo"
html_title = "jaxdrop"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b6e5d",
        "color-brand-content": "#0b6e5d",
    },
    "dark_css_variables": {
        "color-brand-primary": "#4fd1b5",
        "color-brand-content": "#4fd1b5",
    },
}
