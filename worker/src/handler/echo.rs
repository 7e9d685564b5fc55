//! Answers each message with its own text: shows that the whole way works.

use async_trait::async_trait;
use qqrelay_proto::event::{Event, EventKind};

use super::{Context, Handler, HandlerError, Reply};

/// The handler `echo`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

#[async_trait]
impl Handler for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    async fn handle(&self, event: &Event<'_>, _: &Context) -> Result<Vec<Reply>, HandlerError> {
        Ok(reply(event).into_iter().collect())
    }
}

/// Bots are not answered, the bot itself least of all: two echoes would never stop.
fn reply(event: &Event<'_>) -> Option<Reply> {
    event.reply.as_ref()?;
    let message = event.message.as_ref().filter(|_| event.kind == EventKind::MessageCreate)?;
    let text = message.text.as_deref()?.trim();
    let from_bot = message.author.as_ref().is_some_and(|author| author.bot);
    (!from_bot && !text.is_empty()).then(|| Reply::text(text))
}
