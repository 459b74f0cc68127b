"""Starting processes side by side, ending all of them, and noticing lost ones."""

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, NoReturn

import jax

_TAIL = 25  # lines of output in an error


class LaunchError(RuntimeError):
    """A process failed or took too long; the message has the end of its output."""


def is_of_another_process(error: jax.errors.JaxRuntimeError) -> bool:
    """Whether an error says that processes have lost each other.

    A step that needs too much memory, for example, fails where it is run.
    """
    codes = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED")
    words = ("gloo", "connection", "heartbeat", "coordination", "another task")
    message = f"{error}"
    return message.startswith(codes) or any(w in message.lower() for w in words)


def free_port() -> int:
    """A port on this machine that nobody listens to at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def launch(
    commands: Sequence[Sequence[str]],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> list[str]:
    """Runs commands side by side until all are done.

    As soon as one fails the others are ended: processes that train together would wait
    for it. None outlives this call, whatever happens.

    Args:
      commands: programs with their arguments.
      timeout: seconds that all may take together.
      env: variables beside those of this process.

    Returns:
      What each printed, on either stream.

    Raises:
      LaunchError: if a command fails, or time is over.
    """
    deadline = time.monotonic() + timeout
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(_log()) for _ in commands]
        processes = [
            stack.enter_context(_process(command, log, env))
            for command, log in zip(commands, logs, strict=True)
        ]
        while True:
            codes = [process.poll() for process in processes]
            for rank, code in enumerate(codes):
                if code:
                    _fail(rank, f"failed with exit code {code}", logs)
            if None not in codes:
                return [_text(log) for log in logs]
            if time.monotonic() > deadline:
                _fail(codes.index(None), f"was not done after {timeout:g} s", logs)
            time.sleep(0.02)


def _log() -> IO[bytes]:
    """A file and no pipe: what nobody reads must not stop a process."""
    return tempfile.TemporaryFile()


@contextlib.contextmanager
def _process(
    command: Sequence[str], log: IO[bytes], env: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=os.environ | dict(env or {}),
    )
    try:
        yield process
    finally:
        process.kill()  # does nothing to a process that has ended
        process.wait()


def _fail(rank: int, what: str, logs: Sequence[IO[bytes]]) -> NoReturn:
    lines = _text(logs[rank]).rstrip().splitlines()[-_TAIL:] or ["(nothing)"]
    raise LaunchError(
        f"Process {rank} of {len(logs)} {what}. The end of its output:\n"
        + "\n".join(f"  | {line}" for line in lines)
    )


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read().decode(errors="replace")
