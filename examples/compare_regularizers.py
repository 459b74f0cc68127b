"""Compares nine ways to regularize a network with none: which helps, and how sure?

    python examples/compare_regularizers.py
    python examples/compare_regularizers.py --dataset mnist --train-size 5000

The same multilayer perceptron learns the same images with each method, from several
seeds at once, at the strength that validation images choose on a small grid. The first
table is sorted by what each method gains over none in test error, with intervals that
cover the choice of seeds and of test images, and verdicts that are corrected for the
number of methods; the second shows likelihood and calibration, the third what
predictions know of their errors and of images that belong to no class, by one pass
without noise, by Monte-Carlo dropout and by deep ensembles. One or two sentences say
what follows. All numbers are in gains.json, the picture of them in gains.png.

On digits this takes about three minutes on two CPU cores, without a search (--strengths
usual) half as long, and with --quick, which compares two methods, 30 s. A --study
sweeps strengths instead, of more methods or of dropout: --help describes all five.
"""

import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import jax
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from jax.typing import ArrayLike

from comparison import answers, arguments, conduct, further, report, search, verdicts
from comparison.method import Method, with_grids
from comparison.training import NUM_CLASSES, Program, State, Trainer, scaled_as, seen_by
from data import Images, Split
from jaxdrop import constraints, keys, penalties
from jaxdrop.nnx import AlphaDropout, DropConnectLinear, Dropout, GaussianDropout, Rate


class Regularizer(Method):
    """What the numbers of a method do to a network, to its loss and to its training."""

    def network(self, sizes: tuple[int, ...], rngs: nnx.Rngs) -> nnx.Sequential:
        """A multilayer perceptron, from ``sizes[0]`` pixels to ``sizes[-1]`` logits."""
        rates = [Rate(rate) for rate in self.rates]  # others need no other program
        layers = []
        for number, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            rate = rates[1] if number else rates[0]  # of hidden units, and of pixels
            linear = partial(self.linear, rate=rate) if self.linear else nnx.Linear
            if self.noise:
                layers.append(self.noise(rate, rngs=rngs))
            init = self.kernel_init
            layers.append(linear(fan_in, fan_out, kernel_init=init, rngs=rngs))
            layers.append(self.activation)
        network = nnx.Sequential(*layers[:-1])  # no activation after the logits
        network.input_rate, network.hidden_rate = rates
        return network

    def examples(self, key: Array, x: Array, labels: Array) -> tuple[Array, Array]:
        """What a step learns from: pixels, and the share of each class."""
        del key  # of further methods, which are random here
        targets = jax.nn.one_hot(labels, NUM_CLASSES)
        if self.label_smoothing is not None:
            targets = optax.smooth_labels(targets, self.label_smoothing)
        return x, targets

    def loss(self, network: nnx.Sequential, x: Array, targets: Array) -> Array:
        """What is minimized."""
        logits = network(x)
        loss = optax.softmax_cross_entropy(logits, targets).mean()
        return loss + self.penalty(network, logits)

    def penalty(self, network: nnx.Sequential, logits: Array) -> ArrayLike:
        """What is added to the cross-entropy."""
        del logits  # which further methods punish
        if self.l2 is None:
            return 0.0
        is_kernel = lambda path, _: path.endswith("kernel")
        params = nnx.state(network, nnx.Param)
        return penalties.l2(params, coefficient=self.l2, where=is_kernel)

    def optimizer(self, learning_rate: optax.Schedule) -> optax.GradientTransformation:
        """Adam, with weight decay, and with a constraint after each step."""
        optimizer = optax.adam(learning_rate)
        if self.weight_decay is not None:
            decay, mask = self.weight_decay, constraints.decay_mask
            optimizer = optax.adamw(learning_rate, weight_decay=decay, mask=mask)
        if self.max_norm is not None:
            optimizer = optax.chain(optimizer, constraints.max_norm(self.max_norm))
        return optimizer

    def step(self, program: Program, key: Array, state: State, batch: Split) -> State:
        """One step of the network of one seed."""
        key = keys.site(key, "examples", step=state.step)
        x, targets = self.examples(key, batch.x, batch.y)

        def loss_of(params: nnx.State) -> tuple[Array, nnx.State]:
            network = nnx.merge(state.graphdef, params, state.streams, copy=True)
            loss = self.loss(network, x, targets)
            return loss, nnx.state(network, nnx.Not(nnx.Param))

        grads, streams = jax.grad(loss_of, has_aux=True)(state.params)
        optimizer = self.optimizer(program.learning_rate)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        step = state.step + 1
        return State(state.graphdef, params, streams, opt_state, step, state.stopper)

    def updates(
        self, program: Program, seeds: Array, states: State, train: Split, rows: Array
    ) -> State:
        """Steps of all seeds at once, on rows of images ``(steps, seeds, batch)``."""
        step = jax.vmap(partial(self.step, program))

        def of_all_seeds(states: State, rows: Array) -> tuple[State, None]:
            return step(seeds, states, train.take(rows)), None

        return lax.scan(of_all_seeds, states, rows)[0]


class Further(further.Terms, Regularizer):
    """A method that only studies and ``--methods`` train."""


METHODS = with_grids(  # at usual strengths, to which it adds those that are tried
    Regularizer(name="none"),
    Regularizer(name="dropout", noise=Dropout),
    Regularizer(name="Gaussian dropout", noise=GaussianDropout),
    Regularizer(name="DropConnect", linear=DropConnectLinear, rates=(0.2, 0.5)),
    Regularizer(  # as self-normalizing networks want it
        name="alpha dropout + SELU",
        noise=AlphaDropout,
        rates=(0.05, 0.05),
        standardize=True,
        activation=nnx.selu,
        kernel_init=nnx.initializers.lecun_normal(),
    ),
    Regularizer(name="L2 penalty", l2=3e-4),
    Regularizer(name="weight decay", weight_decay=1.0),
    Regularizer(name="dropout + max-norm", noise=Dropout, max_norm=1.5),
    Regularizer(name="label smoothing", label_smoothing=0.1),
    Regularizer(name="dropout + weight decay", noise=Dropout, weight_decay=0.3),
)
ALL_METHODS = (*METHODS, *further.methods(Further))


def main() -> None:
    start = time.perf_counter()
    parser = arguments.parser(__doc__, ALL_METHODS)
    args = parser.parse_args()
    setting = arguments.setting_of(args, parser)
    images = arguments.images_of(args, parser, setting)
    methods = arguments.methods_of(args, METHODS, ALL_METHODS)
    if args.study:
        conduct.conduct(args, setting, images, methods, ALL_METHODS)
        return
    kind, strange = arguments.strange_of(args, parser, images)
    print(f"Running on {jax.default_backend()}: {jax.devices()}")
    outcomes = compare(methods, setting, images, strange)
    judged = verdicts.judge(outcomes, images.test)  # gains over none, and their chance
    report.present(args, setting, images, outcomes, judged, strange=kind)
    print(f"Took {time.perf_counter() - start:.0f} s in all.")


def compare(
    methods: Sequence[Method],
    setting: arguments.Setting,
    images: Images,
    strange: np.ndarray,
) -> list[verdicts.Outcome]:
    """Trains every method from the same seeds, and asks all networks."""
    outcomes, recipe, budget = [], setting.recipe, setting.budget
    with search.progress(methods, recipe, setting.search_seeds) as bar:
        for method in methods:
            seen = seen_by(method, recipe, images)
            others = scaled_as(seen, images, strange)
            trainer = Trainer(method, recipe, seen)
            # Tries strengths; then trains all seeds at the best on validation images.
            found = search.choose(trainer, seen.validation, setting.search_seeds, bar)
            training = search.final(trainer, found, budget, bar)
            asked = answers.ask(method, training.states, seen.test.x, others, budget)
            labels = seen.test.y
            outcomes.append(verdicts.outcome_of(method, training, found, asked, labels))
    return outcomes


if __name__ == "__main__":
    main()
