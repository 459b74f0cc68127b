"""Runs random programs against a reference in NumPy, and watches the memory.

    python -m tests.soak                    # a thousand programs
    python -m tests.soak --programs 10000
    python -m tests.soak --seed 4711        # one program again, as text and in full

Programs have the seeds ``--first``, ``--first + 1``, and so on. Each failure is printed
with the command that repeats it, and the exit code is 1 if there was one.
"""

import argparse
import sys
import time
import traceback

import jax
from tqdm import tqdm


def main() -> int:
    """Runs what the command line asks for, and returns the exit code."""
    args = parse()
    jax.config.update("jax_num_cpu_devices", 8)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_disable_most_optimizations", not args.optimized)
    from tests.soak import memory, programs, slow

    if args.seed is not None:
        program = programs.draw(args.seed)
        print(program)
        wrong = slow.failure(program, programs.run(program))
        print(wrong or "equals the reference")
        return bool(wrong)
    failures, done, started = [], 0, time.monotonic()
    watch = memory.Watch()
    seeds = range(args.first, args.first + args.programs)
    for seed in tqdm(seeds, desc="programs", disable=None):
        if time.monotonic() - started > args.seconds:
            break
        program = programs.draw(seed)
        try:
            wrong = slow.failure(program, programs.run(program))
        except Exception as error:  # a program that stops is a failure as well
            wrong = "".join(traceback.format_exception_only(error)).strip()
        done += 1
        if wrong:
            failures.append(seed)
            tqdm.write(f"{wrong}\n  python -m tests.soak --seed {seed}\n  {program}")
        if done % args.every == 0:
            watch.look()
    grown = watch.growth()
    print(f"{done} programs, {len(failures)} failures. {watch.summary()}")
    if grown:
        print(grown)
    return bool(failures or grown)


def parse() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--programs", type=int, default=1000, help="how many (default: %(default)s)")
    add("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    add("--seed", type=int, help="run the program of this seed alone")
    add("--every", type=int, default=50, help="programs between two looks at memory")
    add("--seconds", type=float, default=float("inf"), help="stop after so many")
    add("--optimized", action="store_true", help="compile as for users")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
