"""What PyTorch and cuDNN do, where a GPU has them."""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from programs import RATE

TORCH, CUDNN = "torch", "cuDNN, no dropout"
Run = Callable[[], Any]
Makers = Mapping[str, Callable[[], Run]]
"""For each contender, what prepares it and gives a function that runs it."""


def made(makers: Makers) -> tuple[dict[str, Run], dict[str, Exception]]:
    """The contenders that can be prepared, and why the others cannot."""
    ready: dict[str, Run] = {}
    failures: dict[str, Exception] = {}
    for name, make in makers.items():
        try:
            ready[name] = make()
        except Exception as error:
            failures[name] = error
    return ready, failures


def has_torch() -> bool:
    """Whether PyTorch is installed, and JAX runs on a GPU that it can share."""
    return jax.default_backend() == "gpu" and bool(importlib.util.find_spec("torch"))


def dropout(array: Any, backward: bool) -> Makers:
    """PyTorch's dropout of an array of such a shape."""
    if not has_torch():
        return {}

    def make() -> Run:
        import torch

        apply = torch.nn.functional.dropout
        return _of_torch(lambda x: apply(x, RATE), [array], backward)

    return {TORCH: make}


def attention(array: Any, backward: bool) -> Makers:
    """Fused attention: PyTorch's with dropout, and cuDNN's without, on a GPU."""
    if jax.default_backend() != "gpu":
        return {}

    def make() -> Run:
        import torch

        batch, length, heads, features = array.shape
        by_heads = jax.ShapeDtypeStruct((batch, heads, length, features), array.dtype)
        attend = torch.nn.functional.scaled_dot_product_attention
        return _of_torch(
            lambda *qkv: attend(*qkv, dropout_p=RATE), [by_heads] * 3, backward
        )

    def cudnn() -> Run:
        x = jax.random.normal(jax.random.key(0), array.shape, array.dtype)

        def attend(*qkv: Array) -> Array:
            return jax.nn.dot_product_attention(*qkv, implementation="cudnn")

        def both(*qkv: Array) -> Any:
            y, pull = jax.vjp(attend, *qkv)
            return y, pull(y)

        jitted = jax.jit(both if backward else attend)
        return lambda: jitted(x, x, x)

    return {CUDNN: cudnn} | ({TORCH: make} if has_torch() else {})


def _of_torch(function: Callable[..., Any], shapes: list[Any], backward: bool) -> Run:
    """A run of a PyTorch function; it waits, since JAX cannot wait for it."""
    import torch

    kind = torch.bfloat16 if shapes[0].dtype == jnp.bfloat16 else torch.float32
    options = {"device": "cuda", "dtype": kind, "requires_grad": backward}
    arrays = [torch.randn(s.shape, **options) for s in shapes]

    def run() -> None:
        y = function(*arrays)
        if backward:
            torch.autograd.grad(y, arrays, y.detach())
        torch.cuda.synchronize()

    return run
