//! Reading single records back from a stream's leader.
//!
//! Every question goes to the leader (`allow_direct` is off), so that what was acknowledged before
//! it is seen. A consumer would be quicker, and may live on a server that lags behind.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use futures_util::{StreamExt, TryStreamExt, stream};
use qqrelay_proto::record::Stored;
use serde::{Deserialize, Serialize};

use super::error::{AskError, code};
use super::link::Link;
use super::wire;

/// Most questions under way at once while a range is read.
const AHEAD_MAX: usize = 64;

#[derive(Default, Serialize)]
struct Question<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_by_subj: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_by_subj: Option<&'a str>,
}

async fn message(
    link: &Link,
    stream: &str,
    question: &Question<'_>,
) -> Result<Option<StreamMessage>, AskError> {
    #[derive(Deserialize)]
    struct Answer {
        message: RawMessage,
    }
    let answer = link.read::<Answer>(&format!("STREAM.MSG.GET.{stream}"), question).await;
    match answer {
        Ok(answer) => Ok(Some(answer.message.try_into().map_err(AskError::NoAnswer)?)),
        Err(error) if error.code() == code::NO_MESSAGE => Ok(None),
        Err(error) => Err(error),
    }
}

/// The newest message whose subject `filter` takes.
pub(super) async fn last(
    link: &Link,
    stream: &str,
    filter: &str,
) -> Result<Option<Stored>, AskError> {
    let question = Question { last_by_subj: Some(filter), ..Question::default() };
    Ok(message(link, stream, &question).await?.map(wire::stored))
}

/// At most `limit` messages that `filter` takes, from number `from` on.
pub(super) async fn range(
    link: &Link,
    stream: &str,
    filter: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<Stored>, AskError> {
    let found = messages(link, stream, filter, from, limit).await?;
    Ok(found.into_iter().map(wire::stored).collect())
}

/// As [`range`], with all headers.
pub(super) async fn messages(
    link: &Link,
    stream: &str,
    filter: &str,
    from: u64,
    limit: usize,
) -> Result<Vec<StreamMessage>, AskError> {
    let (mut found, mut from, mut width) = (Vec::new(), from.max(1), 1);
    while found.len() < limit {
        let asked = width.min(limit - found.len());
        let next = |seq| async move {
            let question =
                Question { seq: Some(seq), next_by_subj: Some(filter), ..Question::default() };
            message(link, stream, &question).await
        };
        let numbers = (from..).take(asked);
        let answers: Vec<_> =
            stream::iter(numbers.map(next)).buffered(AHEAD_MAX).try_collect().await?;
        let (before, is_end) = (found.len(), answers.iter().any(Option::is_none));
        for message in answers.into_iter().flatten() {
            // Where records lie apart, several questions find the same one.
            if message.sequence >= from {
                from = message.sequence + 1;
                found.push(message);
            }
        }
        if is_end {
            break;
        }
        let is_dense = found.len() - before == asked;
        width = if is_dense { (width * 2).min(AHEAD_MAX) } else { 1 };
    }
    Ok(found)
}
