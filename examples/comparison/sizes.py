"""No dropout and dropout on more and more images, each trained for long enough.

Figure 10 of Srivastava et al. (2014), with two rules that are the same at every size
and with every rate: training continues until the validation error no longer
improves, and validation images choose the rate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from rich.table import Table
from tqdm import tqdm

from comparison import sweep
from comparison.answers import evaluate
from comparison.method import Method
from comparison.training import TRAIN_SIZE, Program, State, seen_by
from data import Images, Split
from jaxdrop.early_stopping import EarlyStopping
from study import files, gains, words
from study.gains import Gain
from study.recipe import ImageRecipe
from study.tables import new_table


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When training stops. What is kept are the parameters with the best validation.

    Training stops when the validation error has not improved for ``patience`` updates
    and for ``epochs`` epochs, whichever is longer.

    Attributes:
      check: how many updates there are between two looks at validation images.
      patience: a number of updates, in steps of ``check``.
      epochs: how often each of the training images is seen in the meantime.
      most: the largest number of updates.
    """

    check: int
    patience: int
    epochs: int
    most: int

    def checks(self, size: int, batch_size: int) -> int:
        """The patience with so many images, as a number of looks."""
        updates = max(self.patience, self.epochs * size / batch_size)
        return math.ceil(updates / self.check)

    def __str__(self) -> str:
        return (
            f"until validation has not improved for {self.epochs} epochs and "
            f"{self.patience} updates (at most {self.most})"
        )


class OfSize(NamedTuple):
    """What was measured with a number of training images.

    Attributes:
      size: the number.
      rates: of hidden units, the first of which is 0.
      validation: the best validation error, ``(rates, seeds)``.
      best_update: after how many updates it was reached, likewise.
      updates: how many there were in all, likewise.
      chosen: the rate above 0 with the least mean validation error.
      none: test images that are wrong without dropout, ``(seeds, images)``.
      dropout: those with dropout at the chosen rate.
    """

    size: int
    rates: tuple[float, ...]
    validation: np.ndarray
    best_update: np.ndarray
    updates: np.ndarray
    chosen: float
    none: np.ndarray
    dropout: np.ndarray

    @property
    def gain(self) -> Gain:
        """The error without dropout minus that with it, with its interval."""
        (gain,) = gains.gains({"none": self.none, "dropout": self.dropout})
        return gain


class _Run(NamedTuple):
    """A network in training, and what was best so far."""

    state: State
    stopper: EarlyStopping


def by_size(
    dropout: Method,
    sizes: tuple[int, ...],
    rates: tuple[float, ...],
    recipe: ImageRecipe,
    rule: Rule,
    images: Images,
    seeds: Array,
) -> list[OfSize]:
    """Trains at every rate and judges, for each number of images.

    Args:
      dropout: the method.
      sizes: the numbers of training images.
      rates: of hidden units; the first is 0, which is no dropout.
      recipe: how to train; its number of epochs has no meaning here.
      rule: for how long.
      images: the data.
      seeds: one key for each network of a rate.

    Returns:
      What was measured, for each size. Test images are shown to the networks without
      dropout and to those of the chosen rate only.
    """
    images = seen_by(dropout, recipe, images)
    trainer = _Trainer(dropout, recipe, rule, images, seeds)
    found = []
    with tqdm(unit="update") as bar:
        for size in sizes:
            bar.set_description(f"{size} images")
            trained = trainer.train(size, rates, bar.update)
            found.append(_judge(size, rates, trained, rule, images))
    return found


def _judge(
    size: int, rates: tuple[float, ...], trained: _Run, rule: Rule, images: Images
) -> OfSize:
    stopper = trained.stopper
    validation = np.asarray(stopper.best)
    chosen = 1 + int(validation[1:].mean(1).argmin())
    networks = trained.state._replace(params=stopper.best_params)
    keys = jax.random.split(jax.random.key(0), validation.shape[1])  # nothing is drawn
    none, dropout = (
        evaluate(keys, sweep.at(networks, index), images.test).wrong
        for index in (0, chosen)
    )
    return OfSize(
        size=size,
        rates=rates,
        validation=validation,
        best_update=rule.check * (1 + np.asarray(stopper.best_step)),
        updates=rule.check * np.asarray(stopper.step),
        chosen=rates[chosen],
        none=none,
        dropout=dropout,
    )


class _Trainer:
    """Trains all rates and seeds of a size at once; all sizes share one program."""

    def __init__(
        self,
        dropout: Method,
        recipe: ImageRecipe,
        rule: Rule,
        images: Images,
        seeds: Array,
    ) -> None:
        self.rule = rule
        self.program = Program(dropout, recipe, *images.train.x.shape)
        if rule.check > self.program.num_steps:
            raise ValueError(
                f"rule.check must be at most an epoch of {self.program.num_steps} "
                f"updates, got {rule.check}."
            )
        self.init_keys, self.keys = jax.vmap(jax.random.split, out_axes=1)(seeds)
        self.data = jax.device_put((images.train, images.validation))
        self._advance: Callable[..., tuple[State, Array]] | None = None

    def train(
        self,
        size: int,
        rates: tuple[float, ...],
        after_check: Callable[[int], object],
    ) -> _Run:
        """Trains until every run has stopped."""
        grid = sweep.grid(**{TRAIN_SIZE: (size,), "rate": rates})
        count = len(rates)
        init = sweep.runs(self.program.init, count, "strength", "seed")
        state = init(grid, self.init_keys)
        patience = self.rule.checks(size, self.program.batch_size)
        new = partial(EarlyStopping, patience=patience)
        watch = jax.vmap(jax.vmap(lambda params: new(best_params=params)))
        stopper = watch(state.params)
        update = jax.jit(jax.vmap(jax.vmap(EarlyStopping.update)))
        for number in range(self.rule.most // self.rule.check):
            keys = jax.vmap(jax.random.fold_in, (0, None))(self.keys, number)
            at = grid, keys, state, *self.data
            state, error = self._compiled(count, *at)(*at)
            stopper = update(stopper, error, state.params)
            jax.block_until_ready(stopper)
            after_check(self.rule.check)
            if stopper.should_stop.all():
                break
        return _Run(state, stopper)

    def _compiled(self, count: int, *at: object) -> Callable[..., tuple[State, Array]]:
        if self._advance is None:
            roles = ("strength", "seed", "run", "common", "common")
            advance = sweep.strengths(self._some_updates, count, *roles)
            self._advance = jax.jit(advance).lower(*at).compile()
        return self._advance

    def _some_updates(
        self,
        strength: dict[str, Array],
        keys: Array,
        states: State,
        train: Split,
        validation: Split,
    ) -> tuple[State, Array]:
        """Updates up to the next look at validation images, and their errors."""
        check = self.rule.check
        states = self.program.updates(strength, keys, states, train, check)
        return states, jax.vmap(_error, (0, None))(states, validation)


def _error(state: State, split: Split) -> Array:
    model = state.model
    model.eval()
    return jnp.mean(model(split.x).argmax(-1) != split.y)


def table(found: list[OfSize], *, title: str) -> Table:
    """Test errors for each number of images, with the gain of dropout."""
    num_seeds, num_images = found[0].none.shape
    caption = (
        f"Test errors in percent, means over {num_seeds} seeds ± standard error over "
        "seeds. Rate: that of hidden units with the least validation error. "
        "Gain, in points: the interval (95 %, each by itself) covers seeds and "
        f"{num_images} test images. Updates: the mean number to the best validation "
        "error, without and with dropout."
    )
    headings = ("images", "none", "rate", "dropout", "gain", "interval", "updates")
    columns = (
        [f"{one.size}" for one in found],
        words.with_errors([one.none.mean(1) for one in found], scale=100),
        [f"{one.chosen:g}" for one in found],
        words.with_errors([one.dropout.mean(1) for one in found], scale=100),
        *zip(*words.intervals([one.gain for one in found], scale=100), strict=True),
        [_updates(one) for one in found],
    )
    return new_table(title, headings, caption=caption, columns=columns)


def _updates(found: OfSize) -> str:
    chosen = found.rates.index(found.chosen)
    means = (found.best_update[row].mean() for row in (0, chosen))
    return " / ".join(f"{mean:.0f}" for mean in means)


def records(found: list[OfSize]) -> list[dict[str, Any]]:
    """What is kept of each number of images; for test images their mean only.

    The interval and the p-value of a gain are its own, the verdict is corrected for the
    number of sizes.
    """
    gained = [one.gain for one in found]
    records = []
    for one, gain, tested in zip(found, gained, gains.together(gained), strict=True):
        record = one._asdict()
        for name in ("none", "dropout"):
            record[name] = {"test_error": record[name].mean(1)}
        kept = ("estimate", "low", "high", "p")
        record["gain"] = {name: getattr(gain, name) for name in kept}
        record["relative_gain"] = gain.estimate / one.none.mean()
        records.append({**record, "verdict": tested.verdict})
    return records


def write_csv(path: Path, found: list[OfSize]) -> None:
    """Writes one row for each size, rate and seed; test errors where they are known."""
    header = ("train_size", "rate", "seed", "validation_error", "best_update")
    rows = []
    for one in found:
        known = {0.0: one.none, one.chosen: one.dropout}
        for row, rate in enumerate(one.rates):
            for seed, error in enumerate(one.validation[row]):
                test = known.get(rate)
                counts = one.best_update[row, seed], one.updates[row, seed]
                shown = "" if test is None else test[seed].mean()
                rows.append((one.size, rate, seed, error, *counts, shown))
    files.write_csv(path, (*header, "updates", "test_error"), rows)
