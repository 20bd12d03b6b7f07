"""Runs commands of cfx in forks of one process that has imported it, so that tests do not wait for torch each time.

    python tests/forking.py SOCKET [DIRECTORY]

DIRECTORY, where cfx is to be imported from, comes first on the path. A client (conftest.py has it) sends its words,
directory, environment and standard streams, and gets the exit code back.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress


def serve(address: str) -> None:
    """Run what clients ask for, one after another."""
    import cfx.cli.bench_job
    import cfx.cli.explain_job  # noqa: F401  # what most commands need
    from cfx.cli.app import main

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        while True:
            client, _ = server.accept()
            size, streams, _, _ = socket.recv_fds(client, 4, 3)
            with client.makefile("rb") as said:
                words, directory, environment = json.loads(said.read(int.from_bytes(size, "big")))
            child = os.fork()
            if child == 0:
                _become(words, directory, environment, streams)
                _end(main())
            for stream in streams:
                os.close(stream)
            with client:
                client.sendall(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _become(words: list[str], directory: str, environment: dict[str, str], streams: list[int]) -> None:
    """Make this process look like one that was started by the client."""
    for own, stream in enumerate(streams):
        os.dup2(stream, own)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115  # for as long as it lives
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["cfx", *words]


def _end(code: int) -> None:
    """End at once: what the parent had opened is its own."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path[:1] = sys.argv[2:3]  # instead of tests/
    if len(sys.argv) > 2:  # an editable cfx must not lend the modules that DIRECTORY lacks
        sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in str(finder)]
    serve(sys.argv[1])
