"""Answers /ping by a command, wherever it is said, and says what became of each answer.

    pip install -r requirements.txt
    python3 consumer.py                              # events of every bot
    python3 consumer.py 102000001                    # of one bot
    python3 consumer.py 102000001 group GROUP_OPENID # of one place

NATS_URL, NATS_USER, NATS_PASSWORD and NATS_INBOX_PREFIX say where NATS is, and who you are.
"""

import asyncio
import json
import os
import sys

import nats
from nats.errors import Error, TimeoutError
from nats.js.api import AckPolicy, ConsumerConfig

NAME = "ping"  # of the durable consumers: where they are is kept on the server under it


def filters(app="*", scene="*", scope="*"):
    """The subjects of the events and of the results that are wanted."""
    return f"qq.v1.ev.*.{app}.*.e.*.{scene}.{scope}.*", f"qq.v1.res.{app}.{scene}.{scope}.*"


async def messages(jetstream, stream, subjects):
    """What a durable consumer gives, for ever, from where it was left."""
    config = ConsumerConfig(
        name=NAME,
        durable_name=NAME,
        filter_subject=subjects,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=10,  # what a program that died had in hand comes again after so many seconds
        max_ack_pending=1,  # one after the other, so that order holds over a restart
    )
    await jetstream.add_consumer(stream, config)
    pull = await jetstream.pull_subscribe_bind(consumer=NAME, stream=stream)
    while True:
        try:
            for message in await pull.fetch(1, timeout=30, heartbeat=5):
                yield message
        except TimeoutError:
            pass  # nothing has happened for a while


def answer(event):
    """The command that answers an event, or None."""
    command = event.get("message", {}).get("command", {})
    if command.get("name") != "ping" or "reply" not in event:
        return None
    pong = {
        "v": 1,
        "id": f"ping/{event['id']}",  # the same event, the same id: it is answered once
        "reply": event["reply"],
        "deadline": event["reply"]["expires_at"],
        "action": {"send": {"content": {"text": "pong"}}},
    }
    place = ("app", "scene", "scope", "guild", "traceparent")
    return pong | {member: event[member] for member in place if member in event}


async def follow_events(jetstream, stream, subjects):
    async for message in messages(jetstream, stream, subjects):
        event = json.loads(message.data)
        print("event", event["id"], event["kind"], flush=True)
        try:
            if command := answer(event):
                # Parts of the event's subject are those of the command's, as they stand.
                app, scene, scope = (message.subject.split(".")[part] for part in (4, 8, 9))
                await jetstream.publish(
                    f"qq.v1.cmd.{app}.{scene}.{scope}.send",
                    json.dumps(command).encode(),
                    headers={"Nats-Msg-Id": command["id"]},
                )
            await message.ack()
        except Error as error:
            print("not stored, tried again:", error, file=sys.stderr)
            await message.nak(delay=1)


async def follow_results(jetstream, subjects):
    async for message in messages(jetstream, "QQ_RESULTS", subjects):
        result = json.loads(message.data)
        if result["id"].startswith("ping/") and "outcome" in result:
            print("outcome", result["id"], result["outcome"]["kind"], flush=True)
        await message.ack()


async def main():
    connection = await nats.connect(
        os.environ.get("NATS_URL", "nats://127.0.0.1:4222"),
        user=os.environ.get("NATS_USER"),
        password=os.environ.get("NATS_PASSWORD"),
        inbox_prefix=os.environ.get("NATS_INBOX_PREFIX", "_INBOX"),
        max_reconnect_attempts=-1,
    )
    jetstream = connection.jetstream()
    events, results = filters(*sys.argv[1:])
    names = await connection.request("$JS.API.STREAM.NAMES", b'{"subject": "qq.v1.ev.>"}', timeout=10)
    async with asyncio.TaskGroup() as tasks:
        for stream in json.loads(names.data)["streams"]:
            tasks.create_task(follow_events(jetstream, stream, events))
        tasks.create_task(follow_results(jetstream, results))


asyncio.run(main())
