//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use qqrelay_proto::event::EventKind;
use qqrelay_proto::id::{AppId, Scene};
use qqrelay_proto::subject::Source;

/// Connect a QQ bot once; run anything behind it.
///
/// Every process reads one TOML file; `qqrelay config example` prints one. A command ends with 0 if
/// it did its work, 1 if not, 2 on a wrong command line, 69 if something it needs is not to be had,
/// and 78 if the configuration is wrong.
#[derive(Debug, Parser)]
#[command(name = "qqrelay", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the relay at work: a simulated platform, a bot that echoes, forced reconnects.
    Demo(Demo),
    /// Run gateway and worker in one process, on one file.
    Standalone(Process),
    /// Run the process that holds the sockets and writes the log.
    ///
    /// On the embedded file it is alone: only one process can open that.
    Gateway(Process),
    /// Run the process that handles events and sends replies.
    ///
    /// On the embedded file it is alone: only one process can open that.
    Worker(Process),
    /// Run a simulated QQ platform.
    Simulate(Simulate),
    /// Follow the events of a running relay.
    Tail(Tail),
    /// Send a message through a running relay, and wait for its outcome.
    Send(Box<Send>),
    /// List the shards of a running standalone or gateway.
    ///
    /// With --config: where every session of every gateway would be resumed, as Redis had it some
    /// seconds ago.
    Shards(Shards),
    /// Check, explain or begin a configuration file.
    #[command(subcommand)]
    Config(Config),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
    /// Print the manual page, or write all of them.
    Man {
        /// Write one page for each command into this folder.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// A process that runs until it is told to stop.
#[derive(Debug, Args)]
pub(crate) struct Process {
    /// The configuration; `qqrelay.toml` in this folder if there is one.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What the demo does.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Events to be sent.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) events: u32,
    /// Events a second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) rate: u32,
    /// Shards of the bot.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) shards: u16,
    /// Where chance comes from: the same seed, the same demo.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Print the summary only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Keep log and journal in this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Let events and commands lie on this NATS server, which no relay may be using.
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,
    /// Let what processes agree on lie on this Redis server; with --nats.
    #[arg(long, value_name = "URL", requires = "nats")]
    pub(crate) redis: Option<String>,
}

/// How the simulated platform is set up.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Where it listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8900", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// A bot that exists on it; may be given several times.
    #[arg(long = "app", required = true, value_name = "ID:SECRET")]
    pub(crate) apps: Vec<String>,
    /// The number of shards it recommends.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) shards: u32,
    /// What happens by itself: a scenario file.
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,
    /// Push this many prepared events a second to every live session together; 0 pushes as many as
    /// are taken.
    #[arg(long, value_name = "RATE")]
    pub(crate) flood: Option<u32>,
    /// Write everything sent and received to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Enforce also what the official SDKs overstep.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Where chance comes from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// How a running relay is reached.
#[derive(Debug, Args)]
pub(crate) struct Running {
    /// The admin port of the process.
    #[arg(long, default_value = "127.0.0.1:9600", value_name = "ADDR")]
    pub(crate) admin: SocketAddr,
    /// Ask the servers of this configuration in place of a process.
    #[arg(short, long, value_name = "FILE", conflicts_with = "admin")]
    pub(crate) config: Option<PathBuf>,
}

/// Which events to follow.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// How the process is reached.
    #[command(flatten)]
    pub(crate) running: Running,
    /// Of this bot only.
    #[arg(long)]
    pub(crate) app: Option<AppId>,
    /// Of this scene only: guild, channel, dm, group, c2c or app.
    #[arg(long)]
    pub(crate) scene: Option<Scene>,
    /// Of this place only; an id in the scene.
    #[arg(long)]
    pub(crate) scope: Option<String>,
    /// Of this kind only, such as message_create.
    #[arg(long)]
    pub(crate) kind: Option<EventKind>,
    /// From this source only, such as 1-0 for the only shard of one.
    #[arg(long)]
    pub(crate) source: Option<Source>,
    /// Begin with what is in the log already.
    #[arg(long)]
    pub(crate) from_start: bool,
    /// Print whole events, one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// End after so many events.
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) count: Option<u64>,
}

/// What to send, and where.
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// How the process is reached.
    #[command(flatten)]
    pub(crate) running: Running,
    /// The bot that sends.
    #[arg(long)]
    pub(crate) app: AppId,
    /// What kind of place: channel, dm, group or c2c.
    #[arg(long)]
    pub(crate) scene: Scene,
    /// The place: an id in the scene.
    #[arg(long)]
    pub(crate) scope: String,
    /// The message it answers; without one it is a push.
    #[arg(long, value_name = "MSG_ID", conflicts_with = "event_id")]
    pub(crate) reply_to: Option<String>,
    /// The event it answers.
    #[arg(long, value_name = "EVENT_ID")]
    pub(crate) event_id: Option<String>,
    /// What to say.
    #[command(flatten)]
    pub(crate) content: Content,
    /// The command's id: the same id is the same command, whoever sends it and how often.
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// How long to wait for the outcome, in seconds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub(crate) wait: u64,
    /// How the outcome is printed.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    pub(crate) output: Form,
}

/// One of the things that can be said.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Content {
    /// Plain text.
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// Markdown.
    #[arg(long)]
    pub(crate) markdown: Option<String>,
    /// A content object from this file, or from standard input as `-`.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// How shards are listed.
#[derive(Debug, Args)]
pub(crate) struct Shards {
    /// How the process is reached.
    #[command(flatten)]
    pub(crate) running: Running,
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    pub(crate) output: Form,
}

/// How something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What to do with a configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say everything that is wrong with a file, each with its line and its fix.
    Check(Process),
    /// Print a commented file with every key and its default.
    Example,
    /// Print the JSON Schema of the file.
    Schema,
}
