"""A proxy in front of every node of a cluster, and the faults that it can put between each two of them.

A fault belongs to an ordered pair of nodes: it is about the bytes that go from the one to the other, on every
connection, so that a cut may be in one direction only. The proxy reads from /proc who has opened a connection: its local port
leads to a socket, and the socket to one of the processes that are known to be nodes.
"""

import asyncio
import os
import socket
import threading
from dataclasses import dataclass

CHUNK_BYTES = 64 * 1024
# Bytes that wait in one direction of one connection before its sender feels it, as in a router's queue.
QUEUE_BYTES = 1024 * 1024
LISTEN = "0A"


@dataclass(frozen=True)
class Fault:
    """What happens to bytes on their way from one node to another.

    cut: "hold" keeps bytes back and delivers them after the cut, as TCP does after a short loss of the network;
    "drop" loses them, so that their connection is closed after the cut; "refuse" is "drop", and new connections are
    refused besides. delay: seconds. rate: bytes per second.
    """

    cut: str | None = None
    delay: float = 0.0
    rate: float | None = None


HEALTHY = Fault()


class Connection:
    """A connection through the proxy: two pumps, one for each direction."""

    def __init__(self, proxy, source, destination, writers):
        self.proxy = proxy
        self.source = source
        self.destination = destination
        self.writers = writers
        # The directions in which bytes were lost.
        self.lossy = set()

    def abort(self):
        for writer in self.writers:
            writer.transport.abort()

    async def pump(self, reader, writer, pair):
        """Carries bytes of one direction: one task reads and queues, this one waits and writes."""
        queue = asyncio.Queue(QUEUE_BYTES // CHUNK_BYTES)

        async def fill():
            loop = asyncio.get_running_loop()
            try:
                while data := await reader.read(CHUNK_BYTES):
                    await queue.put((loop.time(), data))
            except OSError:
                self.abort()
            await queue.put((loop.time(), b""))

        filling = asyncio.ensure_future(fill())
        try:
            while True:
                arrived, data = await queue.get()
                passes = await self.pass_through(arrived, data, pair)
                if not data:
                    break
                if passes:
                    writer.write(data)
                    await writer.drain()
            # Its end does not pass a cut either.
            while self.proxy.fault(pair).cut:
                await self.proxy.changed(None)
            writer.write_eof()
        except (OSError, RuntimeError):
            self.abort()
        finally:
            filling.cancel()

    async def pass_through(self, arrived, data, pair):
        """Waits as the faults of the moment demand; returns whether the bytes may go on."""
        now = asyncio.get_running_loop().time
        while True:
            fault = self.proxy.fault(pair)
            if fault.cut in ("drop", "refuse"):
                self.lossy.add(pair)
            if pair in self.lossy:
                return False
            left = arrived + fault.delay - now()
            if fault.cut is None and left <= 0:
                break
            await self.proxy.changed(left if fault.cut is None else None)
        if fault.rate:
            await asyncio.sleep(len(data) / fault.rate)
        return True


class FaultProxy:
    """Listens on a port for each node, and carries what comes to the node's own port.

    `pids` tells which process each node is at the moment; `targets`, the nodes' own ports, may be filled in later.
    """

    def __init__(self, names, pids):
        self.names = list(names)
        self.pids = pids
        self.targets = {}
        self.ports = {}
        self.faults = {}
        self.connections = set()
        self.carried = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        self._call(self._listen())

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def _listen(self):
        self.change = asyncio.Event()
        self.servers = []
        await self._listen_for_all()

    async def _listen_for_all(self):
        for name in self.names:
            server = await asyncio.start_server(
                lambda reader, writer, name=name: self._accept(name, reader, writer), "127.0.0.1", 0
            )
            self.servers.append(server)
            self.ports[name] = server.sockets[0].getsockname()[1]

    def move(self):
        """Listens on other ports than before."""
        async def listen_elsewhere():
            former = list(self.servers)
            self.servers.clear()
            await self._listen_for_all()
            self._end(former)

        self._call(listen_elsewhere())

    def _end(self, servers):
        for server in servers:
            server.close()
        for connection in list(self.connections):
            connection.abort()

    def close(self):
        async def end():
            self._end(self.servers)
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._call(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)

    def fault(self, pair):
        return self.faults.get(pair, HEALTHY)

    async def changed(self, timeout):
        """Waits until a fault begins or ends, or for so many seconds."""
        try:
            await asyncio.wait_for(self.change.wait(), timeout)
        except asyncio.TimeoutError:
            pass

    def set(self, faults):
        """Replaces the faults between the named ordered pairs; HEALTHY ends one."""
        async def replace():
            self.faults.update(faults)
            for connection in list(self.connections):
                # A stream with a hole in it is of no use to its nodes once bytes flow again.
                if any(not self.fault(pair).cut for pair in connection.lossy):
                    connection.abort()
            self.change.set()
            self.change = asyncio.Event()

        self._call(replace())

    def heal(self):
        self.set({(a, b): HEALTHY for a in self.names for b in self.names if a != b})

    async def _accept(self, destination, reader, writer):
        port = writer.get_extra_info("peername")[1]
        source = owner_of_port(port, self.pids())
        pairs = (source, destination), (destination, source)
        if source is None or any(self.fault(pair).cut == "refuse" for pair in pairs):
            writer.transport.abort()
            return
        try:
            reader_on, writer_on = await asyncio.open_connection("127.0.0.1", self.targets[destination])
        except OSError:
            writer.transport.abort()
            return
        for stream in (writer, writer_on):
            stream.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self, source, destination, (writer, writer_on))
        self.connections.add(connection)
        self.carried += 1
        try:
            await asyncio.gather(
                connection.pump(reader, writer_on, pairs[0]), connection.pump(reader_on, writer, pairs[1])
            )
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            connection.abort()
            self.connections.discard(connection)


def owner_of_port(port, pids):
    """The name of the process that has a connection from this port of 127.0.0.1, or None."""
    wanted = f"0100007F:{port:04X}"
    inode = None
    with open("/proc/net/tcp") as table:
        next(table)
        for line in table:
            fields = line.split()
            if fields[1] == wanted and fields[3] != LISTEN:
                inode = fields[9]
                break
    if inode is None:
        return None
    socket_name = f"socket:[{inode}]"
    for name, pid in pids.items():
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                try:
                    if os.readlink(f"/proc/{pid}/fd/{descriptor}") == socket_name:
                        return name
                except OSError:
                    continue
        except OSError:
            continue
    return None
