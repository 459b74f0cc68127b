"""Signatures of NNX modules show every keyword."""

import inspect

import jaxdrop


def test_signatures_show_every_keyword():
    for name in jaxdrop.nnx.__all__:
        cls = getattr(jaxdrop.nnx, name)
        if not inspect.isclass(cls) or not issubclass(
            cls, jaxdrop.nnx.StochasticModule
        ):
            continue
        parameters = inspect.signature(cls).parameters
        assert {"deterministic", "rng_collection", "rngs"} <= set(parameters), name
        assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values()), name
    conv = inspect.signature(jaxdrop.nnx.DropConnectConv).parameters
    assert conv["padding"].default == "SAME" and conv["use_bias"].default is True
