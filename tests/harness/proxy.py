"""A TCP proxy on the loopback that can go away (refuse, or take everything and answer nothing) or be flaky (cut connections
anywhere within a request or a reply)."""

import asyncio
import contextlib
import random
import threading

PASS, REFUSE, HANG, FLAKY = "pass", "refuse", "hang", "flaky"


class Proxy:
    def __init__(self, host, port):
        self.target, self.mode = (host, port), PASS
        self.loop, self.open, self.cuts = asyncio.new_event_loop(), set(), 0
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.server = self._call(self._listen(0))
        self.port = self.server.sockets[0].getsockname()[1]

    def _call(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    async def _listen(self, port):
        return await asyncio.start_server(self._serve, "127.0.0.1", port)

    def set(self, mode):
        self._call(self._set(mode))

    async def _set(self, mode):
        before, self.mode = self.mode, mode
        if before == REFUSE:
            self.server = await self._listen(self.port)
        if mode == REFUSE:
            self.server.close()
        if mode in (REFUSE, HANG):
            # Whatever is under way is lost, some of it after it arrived.
            for writer in list(self.open):
                writer.transport.abort()
        if mode == FLAKY:
            # Those that were opened before too: a client that keeps its connections would open no others.
            for writer in list(self.open):
                self._cut_later(writer)

    async def _serve(self, reader, writer):
        self.open.add(writer)
        try:
            if self.mode == HANG:
                while await reader.read(65536):
                    pass
                return
            up_reader, up_writer = await asyncio.open_connection(*self.target)
            self.open.add(up_writer)
            if self.mode == FLAKY:
                self._cut_later(writer, up_writer)
            await asyncio.gather(self._pump(reader, up_writer), self._pump(up_reader, writer))
        except OSError:
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    def _cut_later(self, *writers):
        self.loop.call_later(random.uniform(0.02, 1), self._cut, *writers)

    def _cut(self, *writers):
        self.cuts += any(w in self.open for w in writers)
        for writer in writers:
            writer.transport.abort()

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.mode == HANG:
                    break
                writer.write(data)
                await writer.drain()
        self.open.discard(writer)
        writer.close()
