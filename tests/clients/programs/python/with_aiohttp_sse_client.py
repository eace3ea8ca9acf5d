import asyncio
from datetime import timedelta

from aiohttp import ClientError, ClientTimeout
from aiohttp_sse_client.client import EventSource

from report import HUB, Resume, on_error, on_event, on_open

resume = Resume()


async def read_stream():
    # By default, aiohttp ends every request after 5 minutes.
    timeout = ClientTimeout(total=None, sock_read=60)
    # The library doubles this before it waits, and uses it until the server sends a `retry`.
    retry = timedelta(milliseconds=100)
    async with EventSource(
        HUB, headers=resume.headers(), timeout=timeout, reconnection_time=retry, on_open=on_open
    ) as source:
        async for event in source:
            resume.keep(event.last_event_id, None)
            on_event(event.type, event.data, event.last_event_id)


async def main():
    while True:
        try:
            await read_stream()
        except (ClientError, ConnectionError, asyncio.TimeoutError) as error:
            # The library reconnects only after the server has ended the stream.
            on_error(error)
        await asyncio.sleep(0.2)


asyncio.run(main())
