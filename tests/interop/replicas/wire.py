#!/usr/bin/env python3
"""A wire between a client and a server that can be held and cut.

    wire.py LISTEN_PORT TARGET_PORT

Reads what to do from standard input, and says so when it is done: `pass`; `hold`: bytes of both directions wait; `deaf`:
those of the server do; `unkept`: answers that the store is to keep wait, and what follows them; `cut`: connections are
reset with what was on its way, and new ones, too.
"""

import asyncio
import sys


# In what a store is told to keep of an answer, and in nothing else.
ANSWER = b'"signingIdentity"'


class Wire:
    def __init__(self, target: int) -> None:
        self.target, self.whole, self.writers = target, True, set()
        self.there, self.back, self.answers = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def connected(self, reader, writer) -> None:
        try:
            if not self.whole:
                writer.transport.abort()
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self.writers |= both
        pumps = [self.pump(reader, far_writer, self.there), self.pump(far_reader, writer, self.back)]
        await asyncio.wait([asyncio.ensure_future(pump) for pump in pumps], return_when=asyncio.FIRST_COMPLETED)
        self.writers -= both
        for one in both:
            one.transport.abort()

    async def pump(self, reader, writer, gate) -> None:
        try:
            while data := await reader.read(65536):
                await gate.wait()
                if ANSWER in data:
                    await self.answers.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            """Whoever has gone has gone."""

    def be(self, what: str) -> None:
        self.whole = what != "cut"
        gates = [(self.there, what in ("pass", "deaf", "unkept")), (self.back, what in ("pass", "unkept"))]
        for gate, opened in [*gates, (self.answers, what != "unkept")]:
            gate.set() if opened else gate.clear()
        if what == "cut":
            for writer in self.writers:
                writer.transport.abort()


async def main(listen: int, target: int) -> None:
    wire = Wire(target)
    wire.be("pass")
    server = await asyncio.start_server(wire.connected, "127.0.0.1", listen)
    print("pass", flush=True)
    async with server:
        while what := (await asyncio.to_thread(sys.stdin.readline)).strip():
            wire.be(what)
            print(what, flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
