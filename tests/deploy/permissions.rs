//! Who may do what: one table, asked of a real server over the plain protocol, which says a refusal
//! before it answers the next ping. That each role can do its whole work is shown in `roles`.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::StreamExt as _;
use qqrelay_proto::subject::Partition;
use qqrelay_runtime::bus::Bus as _;
use qqrelay_tests::wait::eventually;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

use crate::server::{Role, Server};

use Role::{Admin, Consumer, Gateway, Worker};

/// What may be published, by whom; nobody else may.
const PUBLISH: [(&str, &[Role]); 43] = [
    ("qq.v1.ev.00.102.1-0.e.3.group.A1.message_create", &[Gateway]),
    ("qq.v1.ev.00.own", &[Gateway]),
    ("qq.v1.ev.wh.102.wh.ses", &[Gateway]),
    ("qq.v1.ctl.hb.g1", &[Gateway, Admin]),
    ("qq.v1.ctl.take.00", &[Gateway, Admin]),
    ("qq.v1.ctl.lanes.w1", &[Gateway, Worker, Admin]),
    ("qq.v1.cmd.102.group.A1.send", &[Worker, Consumer, Admin]),
    ("qq.v1.cmd.3.102.group.A1.send", &[Worker, Admin]),
    ("qq.v1.rpc.102.send", &[Consumer, Admin]),
    ("qq.v1.res.102.group.A1.c1", &[Worker]),
    ("qq.v1.dlq.3.102.group.A1.message_create", &[Worker]),
    ("qq.handler.mine", &[Worker]),
    ("somewhere.else", &[]),
    ("_INBOX_qqgw.a", &[]),
    ("_INBOX_qqwk.a", &[]),
    ("$SYS.REQ.SERVER.PING", &[]),
    ("$SRV.PING", &[Admin]),
    ("$JS.API.INFO", &[Admin]),
    ("$JS.API.STREAM.NAMES", &[Consumer, Admin]),
    ("$JS.API.STREAM.INFO.NONE", &[Gateway, Worker, Admin]),
    ("$JS.API.STREAM.CREATE.QQ_EV_02", &[Gateway, Worker, Admin]),
    // One that is not there yet could republish into the events.
    ("$JS.API.STREAM.CREATE.QQ_EV_07", &[Gateway, Admin]),
    ("$JS.API.STREAM.CREATE.MINE", &[Gateway, Admin]),
    ("$JS.API.STREAM.CREATE.QQ_RESULTS", &[Gateway, Worker, Admin]),
    ("$JS.API.STREAM.UPDATE.QQ_EV_07", &[Admin]),
    ("$JS.API.STREAM.DELETE.QQ_EV_07", &[Admin]),
    ("$JS.API.STREAM.PURGE.QQ_EV_07", &[Admin]),
    ("$JS.API.STREAM.MSG.DELETE.QQ_EV_07", &[Admin]),
    ("$JS.API.STREAM.MSG.GET.QQ_EV_07", &[Gateway, Admin]),
    ("$JS.API.STREAM.MSG.GET.QQ_RESULTS", &[Gateway, Worker, Admin]),
    ("$JS.API.CONSUMER.CREATE.QQ_EV_07.3-1.qq.v1.ev.>", &[Gateway, Worker, Admin]),
    ("$JS.API.CONSUMER.CREATE.QQ_COMMANDS.3-1.qq.v1.cmd.3.>", &[Worker, Admin]),
    ("$JS.API.CONSUMER.CREATE.QQ_EV_07.ping.qq.v1.ev.>", &[Gateway, Worker, Consumer, Admin]),
    ("$JS.API.CONSUMER.CREATE.QQ_COMMANDS.ping.qq.v1.cmd.>", &[Worker, Admin]),
    ("$JS.API.CONSUMER.CREATE.QQ_EV_07.ping", &[Admin]),
    ("$JS.API.CONSUMER.DURABLE.CREATE.QQ_EV_07.ping", &[Admin]),
    ("$JS.API.CONSUMER.DELETE.QQ_EV_07.3-1", &[Worker, Admin]),
    ("$JS.API.CONSUMER.MSG.NEXT.QQ_EV_07.3-1", &[Gateway, Worker, Admin]),
    ("$JS.API.CONSUMER.MSG.NEXT.QQ_EV_07.ping", &[Gateway, Worker, Consumer, Admin]),
    ("$JS.API.CONSUMER.PAUSE.QQ_EV_07.3-1", &[Admin]),
    ("$JS.ACK.QQ_COMMANDS.3-1.1.1.1.1.0", &[Worker, Admin]),
    ("$JS.ACK.QQ_EV_07.ping.1.1.1.1.0", &[Worker, Consumer, Admin]),
    ("$JS.ACK._.hash.QQ_EV_07.ping.1.1.1.1.0", &[Worker, Consumer, Admin]),
];

/// What may be subscribed to.
const SUBSCRIBE: [(&str, &[Role]); 13] = [
    ("qq.v1.ev.>", &[Consumer, Admin]),
    ("qq.v1.res.>", &[Consumer, Admin]),
    ("qq.v1.cmd.>", &[Admin]),
    ("qq.v1.ctl.>", &[Gateway, Admin]),
    ("qq.v1.ctl.lanes.*", &[Gateway, Worker, Admin]),
    ("qq.v1.ctl.shard.*.*", &[Gateway, Worker, Admin]),
    ("qq.v1.rpc.>", &[Worker, Admin]),
    ("qq.handler.mine", &[Consumer, Admin]),
    ("$SRV.PING", &[Worker, Admin]),
    ("_INBOX_qqgw.>", &[Gateway]),
    ("_INBOX_qqwk.>", &[Worker]),
    ("_INBOX_qqco.>", &[Consumer]),
    (">", &[]),
];

/// A connection that speaks the protocol as it is on the wire.
struct Wire(BufStream<TcpStream>);

impl Wire {
    async fn connect(server: &Server, role: Role) -> anyhow::Result<Self> {
        let address = server.url().replace("nats://", "");
        let mut wire = Self(BufStream::new(TcpStream::connect(address).await?));
        let login = json!({"verbose": false, "pedantic": false, "user": role.user(), "pass": role.password()});
        let refusal = wire.say(&format!("CONNECT {login}")).await?;
        ensure!(refusal.is_none(), "{refusal:?}");
        Ok(wire)
    }

    /// Says one thing; what the server has against it.
    async fn say(&mut self, line: &str) -> anyhow::Result<Option<String>> {
        self.0.write_all(format!("{line}\r\nPING\r\n").as_bytes()).await?;
        self.0.flush().await?;
        let mut refusal = None;
        loop {
            let mut said = String::new();
            ensure!(self.0.read_line(&mut said).await? > 0, "closed after {line}: {refusal:?}");
            if said.starts_with("PONG") {
                return Ok(refusal);
            }
            if said.starts_with("-ERR") {
                refusal = Some(said);
            }
        }
    }
}

/// Asks the server about each line of a table; `say` makes a line of the protocol of a subject.
async fn check(table: &[(&str, &[Role])], say: impl Fn(&str) -> String) -> anyhow::Result<()> {
    let server = Server::start().await?;
    for role in Role::ALL {
        let mut wire = Wire::connect(&server, role).await?;
        for (subject, allowed) in table {
            let refusal = wire.say(&say(subject)).await?;
            let is_allowed = allowed.contains(&role);
            ensure!(refusal.is_none() == is_allowed, "{role:?}, {subject}: {refusal:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_role_publishes_what_is_its_to_say_and_nothing_else() -> anyhow::Result<()> {
    check(&PUBLISH, |subject| format!("PUB {subject} 0\r\n")).await
}

#[tokio::test]
async fn each_role_hears_what_is_for_it_and_no_other_roles_answers() -> anyhow::Result<()> {
    check(&SUBSCRIBE, |subject| format!("SUB {subject} 1")).await
}

/// Why a worker may create the relay's own streams only: the server publishes for whoever may create
/// any, whatever he may publish himself.
#[tokio::test]
async fn a_stream_of_ones_own_writes_events_past_the_permissions() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let gateway = server.bus(Gateway).await?;
    let (worker, admin) = (server.connect(Worker).await?, server.connect(Admin).await?);
    let stream = json!({
        "name": "MINE", "subjects": ["qq.handler.mine"], "storage": "memory", "max_bytes": 1024,
        "republish": {"src": ">", "dest": "qq.v1.ev.01.>"},
    });
    let made = admin.request("$JS.API.STREAM.CREATE.MINE", stream.to_string().into()).await?;
    ensure!(!String::from_utf8_lossy(&made.payload).contains("error"), "{made:?}");
    worker.publish("qq.handler.mine", "an event of nobody's".into()).await?;
    let mut log = gateway.log(Partition::Chain(1)).await?;
    eventually("the server has written it", async || {
        log.extent().await.ok().filter(|extent| extent.last == 1).map(drop)
    })
    .await
}

#[tokio::test]
async fn nobody_comes_in_without_a_password() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let error = async_nats::connect(server.url()).await.err().context("it let us in")?;
    ensure!(error.to_string().contains("authorization"), "{error}");
    Ok(())
}

/// A worker that comes first makes the streams as well.
#[tokio::test]
async fn whoever_comes_first_finds_the_streams_made() -> anyhow::Result<()> {
    let server = Server::start().await?;
    for role in [Worker, Gateway, Admin] {
        server.bus(role).await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_asks_and_waits_gets_the_workers_answer() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let (worker, consumer) = (server.connect(Worker).await?, server.connect(Consumer).await?);
    let mut questions = worker.subscribe("qq.v1.rpc.*.*").await?;
    // The server has the subscription once it has answered what was asked behind it.
    worker.request("$JS.API.STREAM.INFO.NONE", "".into()).await?;
    let worker = async {
        let question = questions.next().await.context("a question")?;
        worker.publish(question.reply.context("a reply subject")?, "done".into()).await?;
        anyhow::Ok(())
    };
    let question = consumer.request("qq.v1.rpc.102.send", "{}".into());
    let patience = Duration::from_secs(30);
    let both = tokio::time::timeout(patience, async { tokio::join!(worker, question) });
    let (worked, answer) = both.await.context("no answer")?;
    worked?;
    if answer?.payload != "done" {
        bail!("another answer");
    }
    Ok(())
}
