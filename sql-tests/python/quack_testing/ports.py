"""Ports for servers of tests that run beside each other."""

import random
import socket

# Below the ports that systems give to clients by themselves, so that no connection takes one meanwhile.
FIRST, LAST = 12000, 32000


def free_ports(count):
    """Ports that were free a moment ago, all different. Drawn by chance: whoever else draws hardly meets them."""
    found = []
    while len(found) < count:
        port = random.SystemRandom().randint(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found:
            found.append(port)
    return found
