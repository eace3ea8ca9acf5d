"""Receives with pymercure's Consumer, which sends the older parameter `topic`."""

from pymercure.consumer import Consumer

from report import HUB, on_event, on_open

consumer = Consumer(
    HUB,
    ["https://example.com/books/1"],
    lambda message: on_event(message.event_type, message.data, message.message_id),
)
consumer.start_consumption()
on_open()
consumer.join()
