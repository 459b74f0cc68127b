"""Reading the text of a compiled program: computations, instructions, sizes."""

import dataclasses
import functools
import math
import re

_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_LINE = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_ARRAY = re.compile(r"\b([a-z]+\d*\w*)\[([\d,<=]*)\](\{[^}]*\})?")
_BITS = re.compile(r"^(?:bf|[sufc])(\d+)")
_SPACE = re.compile(r"S\((\d+)\)")
_NAMES = re.compile(r"%([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      shape: what it gives, an array or a tuple of arrays.
      opcode: what it does.
      arguments: what stands in the parentheses behind it.
      attributes: what follows.
    """

    shape: str
    opcode: str
    arguments: str
    attributes: str

    @functools.cached_property
    def operands(self) -> tuple[str, ...]:
        """The names of its operands."""
        return tuple(_NAMES.findall(self.arguments))

    def called(self, *keys: str) -> list[str]:
        """The computations that it names in an attribute."""
        found = []
        for key in keys:
            key = "branch_computations" if key == "branches" else key
            match = re.search(rf"\b{key}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.attributes)
            if match:
                found += re.findall(r"[\w.\-]+", match[1].replace("%", " "))
        return found


@dataclasses.dataclass(frozen=True)
class Module:
    """A program: instructions by name, by computation."""

    computations: dict[str, dict[str, Instruction]]
    entry: str


def parse(text: str) -> Module:
    """Reads a program."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            current = computations[head[2]] = {}
            entry = head[2] if head[1] else entry
            continue
        found = _LINE.match(line)
        if found and current is not None:
            current[found[1]] = _instruction(found[2])
        elif line.startswith("}"):
            current = None
    if not entry:
        raise ValueError("the text has no ENTRY computation: it is not a program.")
    return Module(computations, entry)


def _instruction(text: str) -> Instruction:
    """Splits ``shape opcode(arguments), attributes``."""
    end = _end(text, 0, " ")
    opens = text.index("(", end)
    closes = _end(text, opens + 1, ")")
    return Instruction(
        text[:end], text[end + 1 : opens], text[opens + 1 : closes], text[closes + 1 :]
    )


def _end(text: str, start: int, stop: str) -> int:
    """Where the first ``stop`` is that no brackets enclose."""
    depth = 0
    for index in range(start, len(text)):
        character = text[index]
        if character == stop and depth == 0:
            return index
        depth += (character in "({[") - (character in ")}]")
    return len(text)


def tuple_parts(shape: str) -> list[str]:
    """The shapes in a tuple; of an array, itself."""
    if not shape.startswith("("):
        return [shape]
    parts, start, inside = [], 0, shape[1:-1]
    while start < len(inside):
        end = _end(inside, start, ",")
        parts.append(inside[start:end].strip())
        start = end + 1
    return parts


def elements(shape: str) -> int:
    """How many entries the first array of a shape has."""
    match = _ARRAY.search(shape)
    return _count(match[2]) if match else 0


def size(shape: str) -> int:
    """Bytes of the arrays of a shape."""
    return sum(
        _bytes(dtype, dims)
        for dtype, dims, _ in _ARRAY.findall(re.sub(r"/\*.*?\*/", "", shape))
    )


def in_memory(shape: str) -> int:
    """Bytes of those arrays that are in main memory, not in memory on the chip."""
    total = 0
    for dtype, dims, layout in _ARRAY.findall(re.sub(r"/\*.*?\*/", "", shape)):
        space = _SPACE.search(layout)
        if space is None or space[1] == "0":
            total += _bytes(dtype, dims)
    return total


def _count(dims: str) -> int:
    return math.prod(int(n.removeprefix("<=")) for n in dims.split(",") if n)


def _bytes(dtype: str, dims: str) -> int:
    bits = _BITS.match(dtype)
    width = int(bits[1]) if bits else 8 if dtype == "pred" else 0
    return _count(dims) * width // 8
