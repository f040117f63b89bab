"""Runs the workloads with eventsource-py: answers each line on stdin with one line of figures on stdout."""

import asyncio
import json
import logging
import sys
import time
from uuid import uuid4

from eventsource import DomainEvent, InMemoryEventBus, register_event

logging.disable(logging.CRITICAL)


@register_event
class OrderCreated(DomainEvent):
    event_type: str = "OrderCreated"
    aggregate_type: str = "Order"
    customer_id: str
    total: int


def make_events(count):
    aggregates = [uuid4() for _ in range(100)]
    return [
        OrderCreated(aggregate_id=aggregates[n % 100], aggregate_version=1, customer_id="c-1", total=n)
        for n in range(count)
    ]


def make_bus(kind, url, name):
    if kind == "redis":
        from eventsource.bus.redis import RedisEventBus, RedisEventBusConfig

        return RedisEventBus(config=RedisEventBusConfig(redis_url=url, stream_prefix=name))
    if kind == "rabbitmq":
        from eventsource.bus.rabbitmq import RabbitMQEventBus, RabbitMQEventBusConfig

        config = RabbitMQEventBusConfig(rabbitmq_url=url, exchange_name=name, prefetch_count=100)
        return RabbitMQEventBus(config=config)
    from eventsource.bus.kafka import KafkaEventBus, KafkaEventBusConfig

    config = KafkaEventBusConfig(bootstrap_servers=url, topic_prefix=name, compression_type=None)
    return KafkaEventBus(config=config)


async def in_batches(bus, events, size):
    start = time.perf_counter()
    for first in range(0, len(events), size):
        await bus.publish(events[first : first + size])
    return len(events) / (time.perf_counter() - start)


async def over_broker(kind, url, name, count):
    """Publishes in batches of 100, then consumes these events; the consume rate is measured from the first to the last."""
    events = make_events(count)
    bus = make_bus(kind, url, name)
    await bus.connect()
    publish = await in_batches(bus, events, 100)
    done = asyncio.Event()
    times = []

    async def handler(event):
        times.append(time.perf_counter())
        if len(times) == count:
            done.set()

    bus.subscribe(OrderCreated, handler)
    consuming = asyncio.create_task(bus.start_consuming())
    await done.wait()
    consume = count / (times[-1] - times[0])
    await bus.shutdown(timeout=5.0)
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    return {"publish": publish, "consume": consume}


async def in_memory(count):
    bus = InMemoryEventBus(enable_tracing=False)

    async def handler(event):
        pass

    bus.subscribe(OrderCreated, handler)
    return {"publish": await in_batches(bus, make_events(count), 1000)}


async def main(kind, url):
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        question = json.loads(line)
        count = question["count"]
        if kind == "memory":
            figures = await in_memory(count)
        else:
            figures = await over_broker(kind, url, question["name"], count)
        print(json.dumps(figures), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
