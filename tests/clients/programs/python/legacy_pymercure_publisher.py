"""Publishes with both publishers of pymercure."""

import importlib
import os
import sys

import jwt
from pymercure.message import Message
from pymercure.publisher.sync import SyncPublisher

from calls import answer_calls

# An import statement cannot name this module, because `async` is a keyword.
AsyncPublisher = importlib.import_module("pymercure.publisher.async").AsyncPublisher

token = jwt.encode({"mercure": {"publish": ["*"]}}, os.environ["HUB_SECRET"], algorithm="HS256")
PUBLISHERS = {"publish": SyncPublisher(sys.argv[1], token), "publish_async": AsyncPublisher(sys.argv[1], token)}
answer_calls(lambda name: lambda **update: PUBLISHERS[name].publish(Message(**update)))
