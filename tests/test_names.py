"""What other libraries call the things that are here."""

import inspect
import operator
import re

import pytest
from flax import nnx

import jaxdrop
from jaxdrop._names import _BY_OTHERS

CELL = nnx.eval_shape(lambda: nnx.GRUCell(2, 3, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: jaxdrop.nnx.Dropout(p=0.5), "'p' is not an argument.*rate="),
        (
            lambda: jaxdrop.linen.Dropout(keep_prob=0.5),
            "keep_prob.*rate=.*1 - keep",
        ),
        (lambda: jaxdrop.nnx.DropBlock(0.1, training=True), "deterministic="),
        (lambda: jaxdrop.linen.SpatialDropout(0.1, train=True), "deterministic="),
        (lambda: jaxdrop.nnx.DropBlock(0.1, block_sze=3), "block_sze .*block_size"),
        (lambda: jaxdrop.nnx.Dropout(nnx.Rngs(0)), r"rate must be a number.*rngs=nnx"),
        (
            lambda: jaxdrop.nnx.ZoneoutCell(CELL, state_rate=nnx.Rngs(0)),
            "state_rate must be a number, got Rngs",
        ),
    ],
)
def test_keywords_of_other_libraries_are_answered(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    "package, name, answer",
    [
        (jaxdrop, "DropPath", "jaxdrop.stochastic_depth"),
        (jaxdrop, "Dropout", "jaxdrop.dropout, and modules are in jaxdrop.nnx"),
        (jaxdrop, "EarlyStopping", r"jaxdrop.early_stopping.EarlyStopping\.$"),
        (jaxdrop, "Cutout", r"jaxdrop.inputs.cutout\.$"),
        (jaxdrop, "bald", r"jaxdrop.acquisition.bald\.$"),
        (jaxdrop, "max_norm", r"jaxdrop.constraints.max_norm\.$"),
        (jaxdrop, "ECE", r"jaxdrop.metrics.expected_calibration_error\.$"),
        (jaxdrop, "label_smoothing", "jaxdrop.penalties.smoothed_cross_entropy"),
        (jaxdrop.nnx, "DropPath", "jaxdrop.nnx.StochasticDepth"),
        (jaxdrop.nnx, "Dropout2d", "jaxdrop.nnx.SpatialDropout"),
        (jaxdrop.nnx, "L0Dense", "jaxdrop.nnx.L0Linear"),
        (jaxdrop.nnx, "MixUp", "jaxdrop.inputs.mixup"),
        (jaxdrop.linen, "drop_path", "jaxdrop.linen.StochasticDepth"),
        (jaxdrop.linen, "DropConnect", "jaxdrop.linen.DropConnectDense"),
        (jaxdrop.linen, "VariationalLinear", "jaxdrop.linen.VariationalDense"),
    ],
)
def test_names_of_other_libraries_are_answered(package, name, answer):
    with pytest.raises(AttributeError, match=f"{name} is {answer}"):
        getattr(package, name)


def answers():
    """What each package says of each name from elsewhere, in two spellings."""
    from jaxdrop import _names

    for package in (jaxdrop, jaxdrop.nnx, jaxdrop.linen):
        for name in _names._BY_OTHERS:
            for spelled in (name, name.capitalize()):
                if not hasattr(package, spelled):
                    with pytest.raises(AttributeError) as error:
                        getattr(package, spelled)
                    yield spelled, f"{error.value}".partition(" is ")[2]


def test_all_that_an_answer_names_exists_and_is_what_it_says():
    rooms = {"jaxdrop.nnx": jaxdrop.nnx, "jaxdrop.linen": jaxdrop.linen}
    for name, answer in answers():
        assert answer, name
        for path in re.findall(r"jaxdrop(?:\.\w+)+", answer):
            operator.attrgetter(path.removeprefix("jaxdrop."))(jaxdrop)
        if answer.endswith("modules are in jaxdrop.nnx and jaxdrop.linen."):
            function = answer.removeprefix("jaxdrop.").split(",")[0].split(" ")[0]
            of = [m for f, m in _BY_OTHERS.values() if f.split(" ")[0] == function]
            assert any(
                isinstance(getattr(room, module, None), type)
                for room in rooms.values()
                for module in of
            ), f"{name}: {answer}"


def test_every_answer_is_a_name_that_exists():
    from jaxdrop import _names

    for function, module in _names._BY_OTHERS.values():
        found = jaxdrop
        for part in function.split(" ")[0].split("."):
            found = getattr(found, part)
        if module:
            assert hasattr(jaxdrop.nnx, module)
            assert hasattr(jaxdrop.linen, _names._IN_LINEN.get(module, module))
    with pytest.raises(AttributeError, match=r"has no attribute 'unheard_of'$"):
        jaxdrop.nnx.unheard_of  # noqa: B018


def test_every_keyword_of_ours_is_an_argument():
    from jaxdrop import _names

    offered = [getattr(jaxdrop, name) for name in jaxdrop.__all__]
    inner = [getattr(room, n) for room in offered for n in getattr(room, "__all__", ())]
    known = {
        name
        for value in offered + inner
        if callable(value)
        for name in inspect.signature(value).parameters
    }
    for ours, sentence in _names._KEYWORDS.values():
        assert not ours or ours in known
        assert not ours or ours in sentence


def test_packages_list_what_they_export():
    for package in (jaxdrop, jaxdrop.nnx, jaxdrop.linen):
        assert len(set(package.__all__)) == len(package.__all__)
        assert all(f"``{name}``" in package.__doc__ for name in package.__all__)
