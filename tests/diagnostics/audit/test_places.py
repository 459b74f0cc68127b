"""Where a draw is: its module, its scope or its line of code."""

import jax
import jax.numpy as jnp
from diagnostics.cases import KEY, X, audit, drop, only_site

from jaxdrop.diagnostics._audit import places


def test_names_come_from_modules_scopes_or_lines():
    def scoped(key, x):
        with jax.named_scope("encoder"), jax.named_scope("mlp"):
            return drop(key, x)

    assert only_site(scoped, KEY, X).name == "encoder/mlp"
    assert only_site(jax.jit(jax.vmap(scoped, (None, 0))), KEY, X).name == "encoder/mlp"
    name = only_site(lambda k, x: drop(k, x), KEY, X).name
    assert name.startswith("test_places.py:")
    twice = lambda k, x: scoped(k, scoped(jax.random.fold_in(k, 0), x))
    names = [site.name for site in audit(twice, KEY, X).sites]
    assert names == ["encoder/mlp", "encoder/mlp (2)"]


def test_a_scope_has_the_name_of_its_innermost_module_or_its_own():
    name = places.name_in
    assert name("a/[encoder/drop]/jvp(b)", "f.py:1") == "encoder/drop"
    assert name(f"{places.marker('outer')}/{places.marker('inner')}", "") == "inner"
    assert name("transpose(jvp(head))/b", "f.py:1") == "head/b"
    assert name("", "f.py:1") == name("jvp()", "f.py:1") == "f.py:1"


def test_a_backward_pass_is_known_from_its_scope():
    def loss(x):
        with jax.named_scope("head"):
            return jnp.sin(x) * x

    gradient = jax.make_jaxpr(jax.grad(loss))(1.0)
    inside = [places.within(places.Place(), equation) for equation in gradient.eqns]
    assert {place.recomputes for place in inside} == {True, False}
    assert all(len(place.chain) == 1 for place in inside)
    assert any("head" in place.scope for place in inside)


def test_the_branches_of_a_choice_are_places_of_their_own():
    choice = places.Place(chain=(3, 5))
    first, second = choice.in_branch(0), choice.in_branch(1)
    assert first.branches == (((3, 5), 0),) and second.branches == (((3, 5), 1),)
    assert first.chain == (3, 5, 0) != second.chain
