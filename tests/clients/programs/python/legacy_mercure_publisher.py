"""Publishes with both publishers of mercure-publisher."""

import asyncio
import os
import sys

from mercure_publisher import AsyncMercurePublisher, MercureConfig, MercurePublisher

from calls import answer_calls

config = MercureConfig(hub_url=sys.argv[1], publisher_jwt_key=os.environ["HUB_SECRET"], publish_topics=["*"])


def publish(**update):
    with MercurePublisher(config) as publisher:
        return publisher.publish(**update)


async def publish_async(update):
    async with AsyncMercurePublisher(config) as publisher:
        return await publisher.publish(**update)


METHODS = {"publish": publish, "publish_async": lambda **update: asyncio.run(publish_async(update))}
answer_calls(METHODS.get)
