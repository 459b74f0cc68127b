"""Whether memory and caches grow while programs come and go."""

import functools
import gc
from pathlib import Path

import jax

SLACK = 0.25
"""The share by which memory may grow after the first half, in which pools fill up."""


class Watch:
    """Looks at what is alive after programs are gone."""

    def __init__(self) -> None:
        self.resident: list[int] = []
        self.arrays: list[int] = []
        self.caches: list[dict[str, int]] = []

    def look(self) -> None:
        """Notes what remains once JAX has forgotten its programs."""
        jax.clear_caches()
        gc.collect()
        self.resident.append(resident_bytes())
        self.arrays.append(len(jax.live_arrays()))
        self.caches.append(cache_sizes())

    def growth(self) -> str:
        """What has grown, in a sentence, or nothing."""
        if len(self.resident) < 4:
            return ""
        half = len(self.resident) // 2
        before, after = max(self.resident[:half]), max(self.resident[half:])
        if after > (1 + SLACK) * before:
            return f"Memory grew from {before >> 20} to {after >> 20} MiB."
        before, after = max(self.arrays[:half]), max(self.arrays[half:])
        if after > before:
            return f"Arrays that nobody needs are alive: {after}, after {before}."
        first, last = self.caches[half], self.caches[-1]
        grown = [name for name, size in last.items() if size > first.get(name, 0)]
        return f"Caches grew: {', '.join(sorted(grown))}." if grown else ""

    def summary(self) -> str:
        """What was seen, in a sentence."""
        if not self.resident:
            return "Memory was not looked at: there were fewer programs than --every."
        return (
            f"Resident memory was {min(self.resident) >> 20} to "
            f"{max(self.resident) >> 20} MiB in {len(self.resident)} looks, with "
            f"{min(self.arrays)} to {max(self.arrays)} arrays alive."
        )


def resident_bytes() -> int:
    """The memory of this process that is in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def cache_sizes() -> dict[str, int]:
    """The number of entries in every cache of the library."""
    return {
        f"{found.__module__}.{found.__name__}": found.cache_info().currsize
        for found in gc.get_objects()
        if isinstance(found, functools._lru_cache_wrapper)
        and (getattr(found, "__module__", None) or "").startswith("jaxdrop")
    }
