"""The state of the house in numbers, each of which may only get better.

Everything here reads the sources, and imports none of them. A bound that is met with
room to spare is to be lowered, in the same commit that met it.
"""

import ast
import functools
import io
import pathlib
import re
import tokenize
from collections import Counter
from collections.abc import Iterator

import pytest

TOP = pathlib.Path(__file__).parents[1]
PACKAGE = TOP / "jaxdrop"
SOURCES = sorted(PACKAGE.rglob("*.py"))
PROSE = [*sorted((TOP / "docs").rglob("*.md")), TOP / "README.md"]
WRAPPED = [  # the others have one line for each paragraph
    path
    for path in PROSE
    if path.name not in ("README.md", "results.md") and path.parent.name != "gallery"
]
NOT_WRAPPED = re.compile(
    r"<!-- table.*?<!-- /table -->|^```.*?^```|^\|.*?$", re.M | re.S
)

LONGEST_FILE, LONGEST_BODY, LONGEST_WITHOUT_DESCRIPTION = 400, 60, 15
SUPPRESSIONS_PER_1000_LINES = 0.9
WHAT_PER_1000_LINES = 3  # "what" as a noun has to be read twice
LONGEST_LINE_OF_PAGES = 110

WITHOUT_TESTS = {  # sources: why they have no tests of their path
    "jaxdrop/_typing.py": "names of types, which type checkers test by tests/uses.py",
}

NOT_OUR_WORDS = {  # regular expression: what to write
    r"(?<!here )\b(?:am|are|be|is|was|were) no (?!longer|larger|smaller|less|more)": (
        "'is not a key', not 'is no key'"
    ),
    r"\bdear\b": "'expensive'",
    r"\bin (?:or else )?in that of\b|\bin that of\b": "the noun again",
    r"\bas of what\b|\bfrom which on\b": "'above this'",
    r"\bnobody\b": "the passive: 'is not needed'",
    r"\bdares? to say\b|\blooks? dear\b": "the quantity",
    r"\b(?:is|are|was|were|be|been) told\b|\btold (?:apart|from|by|of)\b": (
        "'given', 'known from', 'distinguished'"
    ),
    r"\bsays? of itself\b|\btells? of\b": "'reports', 'describes'",
    r"\b[Tt]he (?:usual )?place is\b": "a section 'Usage:'",
    r"\bor ``\w+`` no \w": "'or ``rate`` is not a number'",
    r"\bsomebody\b": "the passive",
    r"\b(?:goes?|going|went) on\b": "'continue'",
    r"\btells? apart\b": "'distinguish'",
    r"\bwants? to know\b": "'needs'",
    r"\bin silence\b": "'without notice'",
    r"\bcares? for\b": "'depends on'",
    r"\b(?:is|are) gone through\b": "'are enumerated'",
    r"\bmore to say\b|\bsays? nearly the same\b": "the quantity",
    r"\bspread over (?:the|an|an explicit) mesh\b": "'sharded over'",
    r"\bspread over devices\b": "'sharded over devices'",
    r"\b[Tt]he way back\b": "'undoes'",
    r"(?i)\b[a-z]{2,}(?:al|ar|ard|gn|im|or)is(?:e[ds]?|ing|ations?)\b": (
        "-ize, as in 'regularize'"
    ),
}
RECORDS = {"NamedTuple", "Exception", "Protocol"}  # described by what returns them
WITHOUT_PAPER = {  # public functions for which no publication stands
    "acquisition": set(),
    "constraints": set(),
    "diagnostics": {"assert_active", "assert_inactive", "audit", "describe_mask"},
    "early_stopping": set(),
    "inputs": set(),
    "keys": {"example", "shard", "site"},
    "masks": {
        *("apply", "bernoulli", "exact", "keep_probability", "survives"),
        "blocks",
    },
    "mc": {"covariance", "joint", "samples"},
    "metrics": {"binary_logits"},
    "penalties": {"by_path"},
    "plots": {
        *(
            "add_legend",
            "forest",
            "learning_curves",
            "mask",
            "new_figure",
            "predictive_band",
        ),
        *("rate_sweep", "rejection_curve", "styles", "uncertainty_histogram"),
    },
    "prng": {"bits_at", "fuse", "random_bits", "uniform", "normal"},
    "schedules": set(),
}
FRAMEWORKS = ("nnx", "linen")
BASES = {"DropoutModule", "Rate", "StochasticModule"}


@functools.cache
def tree_of(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text())


def short(path: pathlib.Path) -> str:
    return str(path.relative_to(TOP))


def lines_of_package() -> int:
    return sum(path.read_text().count("\n") for path in SOURCES)


def functions() -> Iterator[tuple[pathlib.Path, ast.FunctionDef]]:
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def length_of_body(node: ast.FunctionDef) -> int:
    """Lines from the first statement to the last: no signature, no docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def imports_of(path: pathlib.Path) -> set[str]:
    """The modules of the package that a file needs while it is imported itself."""
    found = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:  # a module of a package, or a name in a module
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return found & MODULES


def name_of(path: pathlib.Path) -> str:
    return ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(
        ".__init__"
    )


MODULES = {name_of(path) for path in SOURCES}


def words_of(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """Line and text of paragraphs, or of the comments and strings of a source.

    Each text is one line, so that patterns are found across the ends of lines.
    """
    if path.suffix == ".md":
        line = 1
        for paragraph in path.read_text().split("\n\n"):
            yield line, " ".join(paragraph.split())
            line += paragraph.count("\n") + 2
        return
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if tokenize.tok_name[token.type] in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
            yield token.start[0], " ".join(token.string.split())


def public_definitions(namespace: str) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes that a public package or file offers."""
    room = PACKAGE / namespace
    home = room / "__init__.py" if room.is_dir() else room.with_suffix(".py")
    for name in sorted(names_in_all(home)):
        node = definition(home, name)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node


def definition(path: pathlib.Path, name: str) -> ast.stmt | None:
    """What a file defines under a name, itself or in a file that it imports from."""
    for node in tree_of(path).body:
        if getattr(node, "name", None) == name:
            return node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found = None
                if name == (alias.asname or alias.name):
                    found = definition(path_of(node.module), alias.name)
                elif alias.name == "*":
                    found = definition(path_of(node.module), name)
                if found is not None:
                    return found
    return None


def path_of(module: str) -> pathlib.Path:
    path = TOP / pathlib.Path(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def names_in_all(path: pathlib.Path) -> set[str]:
    """The names that a file exports, those of files that it exports as a whole too."""
    names: set[str] = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names |= set(ast.literal_eval(node.value))
        elif isinstance(node, ast.AugAssign) and ast.unparse(node.target) == "__all__":
            names |= names_in_all(path.parent / f"{node.value.value.id}.py")
    assert names, f"{path} has no __all__"
    return names


def is_record(node: ast.AST) -> bool:
    """Whether a class is a tuple or dataclass, which a function returns."""
    if not isinstance(node, ast.ClassDef):
        return False
    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
    decorators = {name for d in node.decorator_list for name in ast.unparse(d).split()}
    return bool(bases & RECORDS) or any("dataclass" in name for name in decorators)


def test_files_stay_short():
    lengths = {short(p): p.read_text().count("\n") for p in SOURCES}
    assert {n: k for n, k in lengths.items() if k > LONGEST_FILE} == {}


def test_bodies_of_functions_stay_short():
    long = {
        f"{short(path)}: {node.name}": length_of_body(node)
        for path, node in functions()
        if length_of_body(node) > LONGEST_BODY
    }
    assert long == {}


def test_longer_functions_have_a_description():
    """Except for the core of a public function, which describes it."""
    missing = [
        f"{short(path)}: {node.name}"
        for path in SOURCES
        for node in functions_and_methods(path)
        if length_of_body(node) > LONGEST_WITHOUT_DESCRIPTION
        and not ast.get_docstring(node)
        and definition(path, node.name.lstrip("_")) is None
    ]
    assert missing == []


def functions_and_methods(path: pathlib.Path) -> Iterator[ast.FunctionDef]:
    for node in tree_of(path).body:
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("__"):
                yield inner


def test_no_modules_import_each_other_in_a_circle():
    graph = {name_of(path): imports_of(path) for path in SOURCES}
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert graph == {}


def test_private_packages_describe_their_files():
    """A file exports names through its package, or is named in the description."""
    missing = []
    for home in (path for path in SOURCES if path.stem == "__init__"):
        words = ast.get_docstring(tree_of(home))
        exported = imports_of(home) | imports_of(PACKAGE / "__init__.py")
        if not re.search(r"/_[a-z]", short(home)):
            continue  # the descriptions of public packages are for users
        for path in sorted(home.parent.glob("*.py")):
            described = f"``{path.stem}``" in words or name_of(path) in exported
            if path != home and not described:
                missing.append(short(path))
    assert missing == []


def test_names_that_one_file_uses_alone_begin_with_an_underscore():
    """Classes and types may be read by whoever gets a value of them."""
    used = Counter()
    for path in TOP.rglob("*.py"):
        if not set(path.relative_to(TOP).parts) & {"build", ".venv"}:
            used.update(set(re.findall(r"\w+", path.read_text())))
    alone = [
        f"{short(path)}: {name}"
        for path in SOURCES
        for name in functions_and_constants(path)
        if not name.startswith("_") and used[name] == 1
    ]
    assert alone == []


def functions_and_constants(path: pathlib.Path) -> Iterator[str]:
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            names = map(ast.unparse, node.targets)
            yield from (name for name in names if name.isupper())


def test_suppressions_are_rare():
    pattern = re.compile(r"# type: ignore|# noqa|# fmt: (?:off|skip)|# mypy: disable")
    found = Counter(
        short(path)
        for path in SOURCES
        for line in path.read_text().split("\n")
        if pattern.search(line)
    )
    share = 1000 * found.total() / lines_of_package()
    assert share <= SUPPRESSIONS_PER_1000_LINES, (share, found.most_common())


def test_only_the_public_part_of_jax_is_used():
    found = [short(p) for p in SOURCES if re.search(r"jax\._src", p.read_text())]
    assert found == []


def twin_of(path: pathlib.Path) -> pathlib.Path:
    """Where the tests of a source are: ``a/_b/_c.py`` has ``tests/a/b/test_c.py``."""
    *folders, _ = path.relative_to(PACKAGE).parts
    rooms = [folder.strip("_") for folder in folders]
    return TOP.joinpath("tests", *rooms, f"test_{path.stem.strip('_')}.py")


def test_sources_have_tests_of_their_path():
    sources = [path for path in SOURCES if path.stem != "__init__"]
    without = {short(path) for path in sources if not twin_of(path).exists()}
    assert without == set(WITHOUT_TESTS)


@pytest.mark.parametrize("path", [*SOURCES, *PROSE], ids=short)
def test_words_that_have_to_be_read_twice_are_not_used(path):
    found = [
        f"{short(path)}:{line}: {match.group()!r}; write {instead}"
        for line, words in words_of(path)
        for pattern, instead in NOT_OUR_WORDS.items()
        for match in re.finditer(pattern, words)
    ]
    assert found == []


@pytest.mark.parametrize("path", WRAPPED, ids=short)
def test_lines_of_pages_fit_into_an_editor(path):
    text = NOT_WRAPPED.sub("", path.read_text())
    assert [
        line for line in text.split("\n") if len(line) > LONGEST_LINE_OF_PAGES
    ] == []


SAME_MASKS = re.compile(
    r"\b(?:same masks|Flax's masks|masks are (?:Flax's|those that Flax)|mask equals)\b"
)


def test_where_masks_are_said_to_be_those_of_flax_x64_is_off():
    """With x64 on, Flax and ``jax.random`` draw others."""
    missing = []
    for path in (*PROSE, *SOURCES):
        for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-|] )", path.read_text()):
            words = " ".join(paragraph.split())
            promises = SAME_MASKS.search(words) and re.search("[Ff]lax|jax.ran", words)
            if promises and "x64" not in words:
                missing.append(f"{path.relative_to(TOP)}: {words[:70]}")
    assert not missing


def test_what_is_rarely_a_noun():
    found = Counter(
        short(path)
        for path in SOURCES
        for _, words in words_of(path)
        for _ in re.findall(r"\b[Ww]hat\b", words)
    )
    share = 1000 * found.total() / lines_of_package()
    assert share <= WHAT_PER_1000_LINES, (share, found.most_common(20))


@pytest.mark.parametrize("namespace", [*WITHOUT_PAPER, *FRAMEWORKS])
def test_public_names_have_examples(namespace):
    missing = [
        node.name
        for node in public_definitions(namespace)
        if not is_record(node) and "Examples:\n" not in (ast.get_docstring(node) or "")
    ]
    assert missing == []


@pytest.mark.parametrize("namespace", WITHOUT_PAPER)
def test_public_functions_cite_their_source(namespace):
    without = {
        node.name
        for node in public_definitions(namespace)
        if not is_record(node) and "https://" not in (ast.get_docstring(node) or "")
    }
    assert without == WITHOUT_PAPER[namespace]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_modules_name_the_function_that_cites_their_source(framework):
    for node in public_definitions(framework):
        if isinstance(node, ast.ClassDef) and node.name not in BASES:
            words = ast.get_docstring(node)
            assert ":func:`jaxdrop." in words or "https://" in words, node.name
