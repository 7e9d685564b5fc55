// Answers /ping by a command, wherever it is said, and says what became of each answer.
//
//   npm install
//   node consumer.mjs                               # events of every bot
//   node consumer.mjs 102000001                     # of one bot
//   node consumer.mjs 102000001 group GROUP_OPENID  # of one place
//
// NATS_URL, NATS_USER, NATS_PASSWORD and NATS_INBOX_PREFIX say where NATS is, and who you are.

import { env, argv } from "node:process";
import { AckPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, nanos } from "@nats-io/transport-node";

const NAME = "ping"; // of the durable consumers: where they are is kept on the server under it

const [app = "*", scene = "*", scope = "*"] = argv.slice(2);
const EVENTS = `qq.v1.ev.*.${app}.*.e.*.${scene}.${scope}.*`;
const RESULTS = `qq.v1.res.${app}.${scene}.${scope}.*`;

const connection = await connect({
  servers: env.NATS_URL ?? "nats://127.0.0.1:4222",
  user: env.NATS_USER,
  pass: env.NATS_PASSWORD,
  inboxPrefix: env.NATS_INBOX_PREFIX,
  maxReconnectAttempts: -1,
});
const manager = await jetstreamManager(connection, { checkAPI: false });
const stream = jetstream(connection);

/** What a durable consumer gives, for ever, from where it was left. */
async function* messages(streamName, subjects) {
  const config = {
    name: NAME,
    durable_name: NAME,
    filter_subject: subjects,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(10_000), // what a program that died had in hand comes again after so long
    max_ack_pending: 1, // one after the other, so that order holds over a restart
  };
  const { consumers } = manager;
  // It is there after the first start; with another filter, it is changed.
  await consumers.update(streamName, NAME, config).catch(() => consumers.add(streamName, config));
  const consumer = await stream.consumers.get(streamName, NAME);
  yield* await consumer.consume({ max_messages: 1 });
}

/** The command that answers an event, or undefined. */
function answer(event) {
  if (event.message?.command?.name !== "ping" || !event.reply) return undefined;
  const { app, scene, scope, guild, traceparent, reply } = event;
  const id = `ping/${event.id}`; // the same event, the same id: it is answered once
  const action = { send: { content: { text: "pong" } } };
  return { v: 1, id, app, scene, scope, guild, traceparent, reply, deadline: reply.expires_at, action };
}

async function followEvents(streamName) {
  for await (const message of messages(streamName, EVENTS)) {
    const event = message.json();
    console.log("event", event.id, event.kind);
    try {
      const command = answer(event);
      if (command) {
        // Parts of the event's subject are those of the command's, as they stand.
        const part = message.subject.split(".");
        const subject = `qq.v1.cmd.${part[4]}.${part[8]}.${part[9]}.send`;
        await stream.publish(subject, JSON.stringify(command), { msgID: command.id });
      }
      message.ack();
    } catch (error) {
      console.error("not stored, tried again:", error.message);
      message.nak(1000);
    }
  }
}

async function followResults() {
  for await (const message of messages("QQ_RESULTS", RESULTS)) {
    const result = message.json();
    if (result.id.startsWith("ping/") && result.outcome) {
      console.log("outcome", result.id, result.outcome.kind);
    }
    message.ack();
  }
}

const following = [followResults()];
for await (const name of manager.streams.names("qq.v1.ev.>")) following.push(followEvents(name));
await Promise.all(following);
