"""The house style, checked: a convention that no test reads is a wish."""

import inspect
import pathlib

import pytest

import jaxdrop

FAMILY = [
    function
    for function in vars(jaxdrop).values()
    if inspect.isfunction(function)
    and function.__module__.startswith(("jaxdrop._dropout", "jaxdrop._attention"))
]
RELATIVES = {  # other data, a tree, or no rate: positional names, then keywords
    "dot_product_attention": (
        ["key", "query", "key_", "value"],
        [
            *("rate", "bias", "mask", "scale", "is_causal", "query_seq_lengths"),
            *("key_value_seq_lengths", "local_window_size", "broadcast_dims"),
            *("block_size", "implementation", "deterministic"),
        ],
    ),
    "drop_key": (
        ["key", "shape"],
        ["rate", "mask", "out_sharding", "deterministic"],
    ),
    "concrete_dropout": (
        ["key", "x", "logit_rate"],
        ["temperature", "broadcast_dims", "deterministic"],
    ),
    "concrete_penalty": (
        ["logit_rate", "params"],
        ["weight_regularizer", "dropout_regularizer", "num_inputs"],
    ),
    "variational_dense": (
        ["key", "x", "mean", "log_variance"],
        ["threshold", "precision", "deterministic"],
    ),
    "variational_penalty": (["mean", "log_variance"], []),
    "variational_sparsity": (["mean", "log_variance"], ["threshold"]),
    "drop_connect": (["key", "params"], ["rate", "where", "deterministic"]),
    "embedding_dropout": (["key", "embedded", "ids"], ["rate", "deterministic"]),
    "hard_concrete": (["key", "log_alpha"], ["deterministic"]),
    "hard_concrete_penalty": (["log_alpha"], []),
    "shake_shake": (["key", "a", "b"], ["batch_axis", "deterministic"]),
    "layer_drop": (["key", "num_layers"], ["rate", "deterministic"]),
    "masksembles": (["x", "masks"], ["axis"]),
    "mixout": (["key", "params", "reference"], ["rate", "where", "deterministic"]),
    "multi_sample": (["key", "fn"], ["num_samples"]),
    "subset_stochastic_depth": (
        ["key", "branch", "x"],
        ["rate", "batch_axis", "deterministic"],
    ),
    "token_dropout": (
        ["key", "x"],
        ["rate", "num_prefix_tokens", "token_axis", "deterministic"],
    ),
    "zoneout": (["key", "new", "old"], ["rate", "deterministic"]),
}
MEASURES = [f for f in FAMILY if f.__name__.endswith(("_penalty", "_sparsity"))]
TECHNIQUES = [f for f in FAMILY if f not in MEASURES]
HEADINGS = ("Usage:", "Args:", "Returns:", "Raises:", "References:", "Examples:")
ROOT = pathlib.Path(jaxdrop.__file__).parent
for_each_function = pytest.mark.parametrize(
    "function", FAMILY, ids=lambda f: f.__name__
)

for_each_technique = pytest.mark.parametrize(
    "function", TECHNIQUES, ids=lambda f: f.__name__
)


def names(parameters) -> list[str]:
    return [p.name for p in parameters]


@for_each_function
def test_data_is_positional_and_knobs_are_keywords(function):
    parameters = list(inspect.signature(function).parameters.values())
    data = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
    knobs = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert data + knobs == parameters
    assert all(p.default is p.empty for p in data)
    if function.__name__ in RELATIVES:
        assert (names(data), names(knobs)) == RELATIVES[function.__name__]
        return
    assert names(data) == ["key", "x"]
    assert (knobs[0].name, knobs[0].default) == ("rate", inspect.Parameter.empty)
    assert (knobs[-1].name, knobs[-1].default) == ("deterministic", False)


@for_each_function
def test_lives_in_the_file_of_its_name(function):
    room = function.__module__.rsplit(".", 1)[-1]
    assert function.__name__ == room or function.__name__.startswith(room)


@for_each_function
def test_docstring_says_what_it_takes_gives_raises_and_cites(function):
    doc = inspect.getdoc(function)
    positions = [
        doc.index(f"\n{heading}\n")
        for heading in HEADINGS
        if function in TECHNIQUES or heading not in ("Usage:", "Raises:")
    ]
    assert positions == sorted(positions)
    for name in inspect.signature(function).parameters:
        assert f"  {name}: " in doc, f"{name} is not described"
    assert "https://" in doc


@for_each_technique
def test_first_line_is_a_sentence_in_the_present_tense(function):
    first = inspect.getdoc(function).split("\n")[0]
    assert first.endswith(".")
    assert first.split()[0].endswith("s"), first


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.name)
def test_files_stay_below_400_lines_and_begin_with_what_they_are(path):
    text = path.read_text()
    assert text.startswith('"""'), path
    assert text.count("\n") <= 400, f"{path} has grown: make it a room"
