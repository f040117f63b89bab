"""Runs the workloads with FastStream: answers each line on stdin with one line of figures on stdout."""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from faststream import AckPolicy

logging.disable(logging.CRITICAL)


def make_events(count):
    return [
        {
            "event_id": str(uuid4()),
            "event_type": "OrderCreated",
            "aggregate_id": f"Order-{n % 100}",
            "aggregate_type": "Order",
            "aggregate_version": 1,
            "occurred_at": datetime.now(timezone.utc).isoformat(),
            "correlation_id": str(uuid4()),
            "causation_id": None,
            "actor_id": None,
            "tenant_id": None,
            "metadata": {},
            "customer_id": "c-1",
            "total": n,
        }
        for n in range(count)
    ]


@dataclass
class Peer:
    broker: Any
    """Decorates the handler."""
    subscribe: Any
    sender: Any
    publish: Callable[[dict], Awaitable]
    """Creates the destination, if the benchmark has not created it."""
    prepare: Callable[[], Awaitable] | None = None


def over_redis(url, name):
    from faststream.redis import RedisBroker, StreamSub

    stream = f"{name}:stream"
    broker = RedisBroker(url, logger=None)
    # The benchmark created the group, so it starts at the first event.
    subscribe = broker.subscriber(stream=StreamSub(stream, group="default", consumer="bench", max_records=100))
    sender = RedisBroker(url, logger=None)
    return Peer(broker, subscribe, sender, lambda event: sender.publish(event, stream=stream))


def over_rabbitmq(url, name):
    from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

    queue = RabbitQueue(name, durable=True, arguments={"x-expires": 60_000})
    broker = RabbitBroker(url, logger=None, default_channel=Channel(prefetch_count=100))
    sender = RabbitBroker(url, logger=None)

    def publish(event):
        return sender.publish(event, queue=queue, persist=True)

    return Peer(broker, broker.subscriber(queue), sender, publish, lambda: sender.declare_queue(queue))


def over_kafka(url, name):
    from faststream.kafka import KafkaBroker

    topic = f"{name}.stream"
    broker = KafkaBroker(url, logger=None)
    subscribe = broker.subscriber(
        topic, group_id="bench", auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR
    )
    sender = KafkaBroker(url, logger=None, acks="all")

    def publish(event):
        return sender.publish(event, topic=topic, key=event["aggregate_id"].encode())

    return Peer(broker, subscribe, sender, publish)


makers = {"redis": over_redis, "rabbitmq": over_rabbitmq, "kafka": over_kafka}


async def both_ends(peer, count, consumed):
    """Publishes 100 at a time, then consumes the first of them; the consume rate is measured from the first to the last."""
    events = make_events(count)
    done = asyncio.Event()
    times = []

    @peer.subscribe
    async def handler(message: dict) -> None:
        times.append(time.perf_counter())
        if len(times) == consumed:
            done.set()

    await peer.sender.start()
    if peer.prepare is not None:
        await peer.prepare()
    start = time.perf_counter()
    for first in range(0, count, 100):
        await asyncio.gather(*map(peer.publish, events[first : first + 100]))
    published = count / (time.perf_counter() - start)
    await peer.broker.start()
    await done.wait()
    await peer.broker.stop()
    await peer.sender.stop()
    return {"publish": published, "consume": consumed / (times[consumed - 1] - times[0])}


async def main(kind, url):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        question = json.loads(line)
        peer = makers[kind](url, question["name"])
        consumed = min(question["count"], question["consumed"])
        print(json.dumps(await both_ends(peer, question["count"], consumed)), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2]))
