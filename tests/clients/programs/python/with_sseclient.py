import requests
from sseclient import SSEClient

from report import HUB, on_error, on_event, on_open

client = SSEClient(HUB)
on_open()
while True:
    try:
        event = next(client)
        on_event(event.event, event.data, event.id)
    except requests.RequestException as error:
        # The next call of next() reconnects.
        on_error(error)
