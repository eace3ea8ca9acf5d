"""Shared by all programs: prints a JSON line for each thing that the application sees."""

import json
import os
import sys
import threading
import time

# The stream's URL.
HUB = sys.argv[1]


def on_event(kind, data, event_id):
    """The message handler of a typical application: it expects JSON in every event."""
    problem = None
    try:
        json.loads(data)
    except ValueError as error:
        problem = f"{type(error).__name__}: {error}"
    _print(saw="event", type=kind, data=data, id=event_id, problem=problem)


def on_open():
    _print(saw="open")


def on_error(error):
    _print(saw="error", text=f"{type(error).__name__}: {error}")


class Resume:
    """What a program must remember if its library does not reconnect."""

    def __init__(self):
        self.last_id = ""
        self._retry_ms = 200

    def headers(self):
        return {"Last-Event-ID": self.last_id} if self.last_id else {}

    def keep(self, event_id, retry_ms):
        self.last_id = event_id or self.last_id
        self._retry_ms = int(retry_ms or self._retry_ms)

    def wait(self):
        time.sleep(self._retry_ms / 1000)


def _print(**line):
    # One write for the whole line, because a program may have several threads.
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _end_with_input():
    sys.stdin.read()
    os._exit(0)


# The test ends a program by closing its standard input.
threading.Thread(target=_end_with_input, daemon=True).start()
