import httpx
from httpx_sse import connect_sse

from report import HUB, Resume, on_error, on_event, on_open

resume = Resume()
# The default read timeout of 5 s is shorter than the server's default heartbeat of 15 s.
client = httpx.Client(timeout=httpx.Timeout(5, read=60))
while True:
    try:
        with connect_sse(client, "GET", HUB, headers=resume.headers()) as source:
            on_open()
            for event in source.iter_sse():
                resume.keep(event.id, event.retry)
                on_event(event.event, event.data, event.id)
    except httpx.TransportError as error:
        on_error(error)
    resume.wait()
