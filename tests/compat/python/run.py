"""The common scenario with confluent-kafka-python, that is the current librdkafka. See ../README.md for the steps.

usage: run.py BOOTSTRAP PREFIX [PARTITIONS]
"""

import json
import sys
import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP, PREFIX = sys.argv[1], sys.argv[2]
PARTITIONS = int(sys.argv[3]) if len(sys.argv) > 3 else 0
BASE = {"bootstrap.servers": BOOTSTRAP, "client.id": "compat-python"}
ADMIN = AdminClient(BASE)


def step(name):
    """Runs the decorated function at once and prints its line."""

    def runner(body):
        started = time.monotonic()
        try:
            ok, detail = True, body()
        except Exception as error:  # every failure becomes one line
            ok, detail = False, f"{type(error).__name__}: {error}"
        ms = round((time.monotonic() - started) * 1000)
        print(json.dumps({"step": name, "ok": ok, "detail": detail, "ms": ms}), flush=True)

    return runner


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def create_topic(name, partitions):
    topic = f"{PREFIX}-{name}"
    ADMIN.create_topics([NewTopic(topic, num_partitions=partitions, replication_factor=1)])[topic].result(20)
    return topic


def produce(topic, messages, **config):
    """Each message is the keyword arguments of Producer.produce."""
    failures = []
    producer = Producer({**BASE, "linger.ms": 20, **config})
    for message in messages:
        producer.produce(topic, on_delivery=lambda error, _: error and failures.append(error), **message)
    left = producer.flush(20)
    check(not failures and left == 0, f"{failures[:1]} {left} not delivered")


def consumer(group, **config):
    return Consumer(
        {
            **BASE,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "heartbeat.interval.ms": 300,
            "session.timeout.ms": 10_000,
            "fetch.wait.max.ms": 100,
            **config,
        }
    )


def poll_into(reader, seen, seconds):
    message = reader.poll(seconds)
    if message is not None:
        if message.error():
            raise KafkaException(message.error())
        seen.append(message)


def read_all(topic, count):
    """From the beginning of all partitions, without a group."""
    reader = consumer(f"{topic}-reader")
    partitions = reader.list_topics(topic, 10).topics[topic].partitions
    reader.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in partitions])
    seen = []
    deadline = time.monotonic() + 20
    while len(seen) < count and time.monotonic() < deadline:
        poll_into(reader, seen, 0.2)
    reader.close()
    check(len(seen) == count, f"{len(seen)} messages, expected {count}")
    return seen


def wait_for(what, readers, condition, seconds=20):
    """Keeps every member polling until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < deadline, f"waited {seconds} s for {what}")
        for reader, seen in readers:
            poll_into(reader, seen, 0.05)


for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:

    @step(f"codec {codec}")
    def _():
        topic = create_topic(f"codec-{codec}", 2)
        values = [f"{codec}-{index}-{'abcdefgh' * 12}" for index in range(200)]
        produce(
            topic,
            [{"key": str(index), "value": value} for index, value in enumerate(values)],
            **{"compression.type": codec},
        )
        got = [message.value().decode() for message in read_all(topic, len(values))]
        check(sorted(got) == sorted(values), "values differ")
        return f"{len(values)} records"


@step("headers")
def _():
    topic = create_topic("headers", 1)
    headers = [("a", b"one"), ("b", b"\x00\xff"), ("empty", b""), ("null", None), ("a", b"two")]
    produce(topic, [{"key": "k", "value": "v", "headers": headers}])
    got = read_all(topic, 1)[0].headers()
    check(got == headers, str(got))
    return "5 headers: repeated, binary, empty, null"


@step("nulls")
def _():
    topic = create_topic("nulls", 1)
    produce(topic, [{"value": "no key"}, {"key": "tombstone"}, {"key": "", "value": ""}])
    got = [(message.key(), message.value()) for message in read_all(topic, 3)]
    check(got == [(None, b"no key"), (b"tombstone", None), (b"", b"")], str(got))
    return "null key, null value, empty ones"


@step("large")
def _():
    topic = create_topic("large", 1)
    value = bytes((index * 7919 >> 3) & 0xFF for index in range(900_000))
    produce(topic, [{"value": value}, {"value": "small"}])
    got = [message.value() for message in read_all(topic, 2)]
    check(got == [value, b"small"], "value differs")
    return f"{len(value)} bytes"


@step("seek by time")
def _():
    topic = create_topic("seek", 1)
    base = int(time.time() * 1000) - 1_000_000
    produce(topic, [{"value": str(index), "timestamp": base + index * 1000} for index in range(10)])
    reader = consumer(f"{topic}-reader")
    (found,) = reader.offsets_for_times([TopicPartition(topic, 0, base + 4500)], 10)
    (past,) = reader.offsets_for_times([TopicPartition(topic, 0, int(time.time() * 1000) + 3_600_000)], 10)
    low, high = reader.get_watermark_offsets(TopicPartition(topic, 0), 10)
    reader.close()
    check(found.offset == 5, f"offset {found.offset}, expected 5")
    check(past.offset == OFFSET_END, f"past the end: {past.offset}")
    check((low, high) == (0, 10), f"watermarks {low} {high}")
    return "offset 5 of 10; end past the end"


@step("idempotent")
def _():
    topic = create_topic("idempotent", 1)
    values = [str(index) for index in range(500)]
    produce(topic, [{"value": value} for value in values], **{"enable.idempotence": True, "batch.num.messages": 20})
    got = [message.value().decode() for message in read_all(topic, 500)]
    check(got == values, "order differs")
    return "500 records in order"


@step("commit")
def _():
    topic = create_topic("commit", 1)
    produce(topic, [{"value": str(index)} for index in range(10)])
    group = f"{topic}-group"
    reader, seen = consumer(group), []
    reader.subscribe([topic])
    wait_for("10 messages", [(reader, seen)], lambda: len(seen) == 10)
    reader.commit(offsets=[TopicPartition(topic, 0, 4, "note to self")], asynchronous=False)
    (committed,) = reader.committed([TopicPartition(topic, 0)], 10)
    reader.close()
    check(committed.offset == 4, f"offset {committed.offset}")
    check(committed.metadata == "note to self", f"metadata {committed.metadata!r}")
    reader, seen = consumer(group), []
    reader.subscribe([topic])
    wait_for("6 messages", [(reader, seen)], lambda: len(seen) == 6)
    reader.close()
    check(seen[0].offset() == 4, f"resumed at {seen[0].offset()}")
    return "offset 4 with metadata, resumed there"


def rebalance(strategy):
    topic = create_topic(f"group-{strategy}", 4)
    group = f"{topic}-group"
    first, first_seen = consumer(group, **{"partition.assignment.strategy": strategy}), []
    second, second_seen = consumer(group, **{"partition.assignment.strategy": strategy}), []
    first.subscribe([topic])
    wait_for("4 partitions", [(first, first_seen)], lambda: len(first.assignment()) == 4)
    second.subscribe([topic])
    both = [(first, first_seen), (second, second_seen)]
    wait_for("2 and 2", both, lambda: len(first.assignment()) == 2 and len(second.assignment()) == 2)

    def values():
        return {message.value() for message in first_seen + second_seen}

    def send(start):
        produce(topic, [{"key": str(i), "value": str(i)} for i in range(start, start + 20)])

    send(0)
    wait_for("20 messages", both, lambda: len(values()) == 20)
    second.close()
    wait_for("4 partitions again", both[:1], lambda: len(first.assignment()) == 4)
    send(20)
    wait_for("40 messages", both[:1], lambda: len(values()) == 40)
    first.close()


@step("group")
def _():
    for strategy in ["range", "cooperative-sticky"]:
        rebalance(strategy)
    return "4 → 2+2 → 4 partitions, 40 records; range and cooperative-sticky"


@step("static member")
def _():
    topic = create_topic("static", 4)
    group = f"{topic}-group"
    revoked = []

    def member(instance):
        reader = consumer(group, **{"group.instance.id": instance})
        reader.subscribe([topic], on_revoke=lambda _, lost: revoked.append(instance))
        return reader

    def owned(reader):
        return sorted(partition.partition for partition in reader.assignment())

    one, two = member("one"), member("two")
    wait_for("2 and 2", [(one, []), (two, [])], lambda: len(owned(one)) == 2 and len(owned(two)) == 2)
    before = owned(two)
    two.close()  # a static member does not leave
    revoked.clear()
    two = member("two")
    wait_for("the member back", [(one, []), (two, [])], lambda: owned(two) != [])
    check(owned(two) == before, f"assignment {before} became {owned(two)}")
    for _ in range(14):
        poll_into(one, [], 0.05)
    check(revoked == [], f"rebalanced: {revoked}")
    two.close()
    one.close()
    return f"closed and back: partitions {before} kept, other member untouched"


@step("admin")
def _():
    topic = create_topic("admin", 3)
    check(len(ADMIN.list_topics(topic, 10).topics[topic].partitions) == 3, "partitions")
    try:
        create_topic("admin", 3)
        check(False, "created twice")
    except KafkaException as error:
        check(error.args[0].name() == "TOPIC_ALREADY_EXISTS", str(error))
    ADMIN.delete_topics([topic])[topic].result(20)
    deadline = time.monotonic() + 20
    while topic in ADMIN.list_topics(timeout=10).topics:
        check(time.monotonic() < deadline, "still listed")
        time.sleep(0.05)
    return "created with 3 partitions, refused twice, listed, deleted"


@step("auto-create")
def _():
    topic = f"{PREFIX}-auto"
    produce(topic, [{"key": str(index), "value": str(index)} for index in range(40)])
    got = read_all(topic, 40)
    count = len(ADMIN.list_topics(topic, 10).topics[topic].partitions)
    check(PARTITIONS in (0, count), f"{count} partitions, expected {PARTITIONS}")
    return f"{count} partitions, {len({message.partition() for message in got})} used"
