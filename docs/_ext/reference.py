"""The API reference: one page per namespace, written from the lists of public names."""

import inspect
import pathlib
import re
from collections.abc import Callable
from types import ModuleType

from flax import linen as nn

import jaxdrop

NAMESPACES = (
    *("acquisition", "constraints", "diagnostics", "early_stopping", "inputs", "keys"),
    *("linen", "masks", "mc", "metrics", "nnx", "penalties", "plots", "prng"),
    "schedules",
)

_VALUE = re.compile(
    r"<(?:PjitFunction of <)?(?:class|function) '?(?P<name>[\w.]+)"
    r"(?P<local>\.<locals>\.\w+)?'?(?: at 0x\w+)?>{1,2}"
)
_NDARRAY = re.compile(
    r"~?numpy\.ndarray\[tuple\[[^]]*\], ~?numpy\.dtype\[(?P<dtype>[^][]+)\]\]"
)


def public_names(module: ModuleType) -> list[str]:
    """The names that a namespace exports, in alphabetical order."""
    return sorted(module.__all__, key=str.lower)


def page(module: ModuleType, names: list[str]) -> str:
    """A page in reStructuredText, inside MyST: a table of names, then each in full."""
    first, _, rest = inspect.getdoc(module).partition("\n")
    lines = [f"# `{module.__name__}`", "", "```{eval-rst}"]
    lines += [f".. module:: {module.__name__}", "", first, "", rest.strip(), ""]
    lines += [".. autosummary::", ""]
    lines += [f"   {name}" for name in names] + [""]
    for name in names:
        lines += entry(getattr(module, name), name)
    return "\n".join([*lines, "```", ""])


def entry(value: object, name: str) -> list[str]:
    """The directive that documents one name."""
    if inspect.isclass(value):
        return [f".. autoclass:: {name}", "   :members:", ""]
    kind = "function" if callable(value) and inspect.isroutine(value) else "data"
    return [f".. auto{kind}:: {name}", ""]


def signature_of(value: Callable[..., object]) -> inspect.Signature:
    """The signature that a caller needs to know.

    A class of Linen is called with its fields, though its ``__new__`` takes anything;
    ``parent`` is set by Flax.
    """
    signature = inspect.signature(value)
    if not (inspect.isclass(value) and issubclass(value, nn.Module)):
        return signature
    fields = [
        field for field in signature.parameters.values() if field.name != "parent"
    ]
    return signature.replace(parameters=fields, return_annotation=signature.empty)


def readable(signature: str) -> str:
    """A signature that Sphinx can parse, with functions and classes by their names.

    A default such as ``<function zeros>`` is not Python, and Sphinx then shows the
    whole signature in one line, as it stands. NumPy's bool keeps the name of its
    library, since ``bool | bool | Array`` does not tell it from Python's. An array of
    NumPy has the name that sources give it, instead of what that stands for.
    """
    signature = _VALUE.sub(lambda m: m["name"] + "(...)" * bool(m["local"]), signature)
    signature = _NDARRAY.sub(r"~numpy.typing.NDArray[\g<dtype>]", signature)
    signature = re.sub(r"<[\w.]+ object(?: at 0x\w+)?>", "...", signature)
    return re.sub(r"~?\bnumpy\.bool_?\b", "numpy.bool", signature)


def write(app: object) -> None:
    """Writes the pages where they have changed, so that builds stay incremental."""
    folder = pathlib.Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    family = [n for n in jaxdrop.__all__ if inspect.isfunction(getattr(jaxdrop, n))]
    pages = {"jaxdrop": page(jaxdrop, sorted(family))}
    for namespace in NAMESPACES:
        module = getattr(jaxdrop, namespace)
        pages[namespace] = page(module, public_names(module))
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def sign(
    app: object,
    what: str,
    name: str,
    value: object,
    options: object,
    arguments: str | None,
    result: str | None,
) -> tuple[str | None, str | None]:
    """The signature that autodoc shows, with the fields of classes of Linen."""
    if inspect.isclass(value) and issubclass(value, nn.Module):
        from sphinx.util.inspect import stringify_signature  # tests run without it

        arguments = stringify_signature(signature_of(value), unqualified_typehints=True)
    return arguments and readable(arguments), result and readable(result)


def setup(app: object) -> dict[str, bool]:
    """Registers the steps with Sphinx."""
    app.connect("builder-inited", write)
    app.connect("autodoc-process-signature", sign)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
