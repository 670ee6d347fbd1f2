"""Ports for servers of tests that run beside each other."""

import random
import socket
from collections import deque

# Below the ports that systems give to clients by themselves, so that no connection takes one meanwhile.
FIRST, BLOCKS, BLOCK = 12000, 160, 125
# So many blocks a process takes at most; then it gives out again what it gave out longest ago.
BLOCKS_MAX = 10


class Reserved:
    """Ports in blocks that no other process of tests takes while this one lives.

    A server that is killed leaves its port for a moment; a server of another test must not take it meanwhile.
    """

    def __init__(self):
        self.fresh, self.given = [], deque()
        # A name in the abstract namespace of sockets for each block: the system frees it when the process ends.
        self.names = []

    def take(self):
        while True:
            if not self.fresh and len(self.names) < BLOCKS_MAX:
                first = self.take_block()
                self.fresh = list(range(first, first + BLOCK))
            port = self.fresh.pop() if self.fresh else self.given.popleft()
            self.given.append(port)
            if is_free(port):
                return port

    def take_block(self):
        """The first port of a block."""
        while True:
            block = random.SystemRandom().randrange(BLOCKS)
            name = socket.socket(socket.AF_UNIX)
            try:
                name.bind(f"\0quack-test-ports-{block}")
            except OSError:
                name.close()
                continue
            self.names.append(name)
            return FIRST + block * BLOCK


RESERVED = Reserved()


def free_ports(count):
    """Ports that are free, all different; another process of tests is not given them."""
    return [RESERVED.take() for _ in range(count)]


def free_base_port(offsets):
    """A port such that those at the offsets above it, each below `BLOCK`, are free too."""
    while True:
        base = RESERVED.take_block()
        if all(is_free(base + offset) for offset in offsets):
            return base


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
