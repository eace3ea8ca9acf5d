import requests
from sseclient import SSEClient

from report import HUB, Resume, on_error, on_event, on_open

resume = Resume()
while True:
    try:
        response = requests.get(HUB, stream=True, headers={"Accept": "text/event-stream", **resume.headers()})
        on_open()
        for event in SSEClient(response).events():
            resume.keep(event.id, event.retry)
            on_event(event.event, event.data, event.id)
    except requests.RequestException as error:
        on_error(error)
    resume.wait()
