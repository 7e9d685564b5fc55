//! I6: what people saw of the bot's replies, against the events that they answer.

use std::collections::{HashMap, HashSet};

use qqrelay_proto::command::CommandId;
use qqrelay_proto::event::{Event, EventKind, ReplyTarget};
use qqrelay_proto::id::{AppId, Scene};
use qqrelay_proto::outcome::{News, Outcome, Progress, ResultRecord};
use qqrelay_proto::subject::Partition;
use qqrelay_simulator::journal::{Entry, Line, Sent};

use super::Answers;
use super::log::{Log, What};
use super::report::{Report, Rule};

pub(super) fn check(
    journal: &[Line],
    log: &Log<'_>,
    results: &[ResultRecord],
    answers: Answers,
    report: &mut Report,
) {
    let mut rights = rights(log, report);
    let mut newest = HashMap::<_, (Partition, u64)>::new();
    for line in journal {
        let Entry::Rest { app: Some(app), applied: true, sent: Some(sent), .. } = &line.entry
        else {
            continue;
        };
        report.tally.replies += 1;
        let Some(target) = Target::of(app, sent) else { continue };
        let Some(right) = rights.get_mut(&target) else {
            report
                .violated(Rule::Replied, format!("{target:?} was answered and is not in the log"));
            continue;
        };
        right.replies += 1;
        if right.limit.is_some_and(|limit| right.replies > limit) {
            report.violated(Rule::Replied, format!("{target:?} has {} replies", right.replies));
        }
        if u64::try_from(line.at_ms).unwrap_or_default() > right.expires_at_ms {
            report.violated(Rule::Replied, format!("{target:?} was answered too late"));
        }
        let place = (app.clone(), sent.scene, sent.scope.clone());
        if let Some((partition, number)) = newest.insert(place, right.place)
            && partition == right.place.0
            && number > right.place.1
        {
            let found = format!("{target:?} was answered after the event at {number}");
            report.violated(Rule::Replied, found);
        }
    }
    let commands = outcomes(results, &rights, report);
    if answers == Answers::Echo {
        for (target, right) in &rights {
            echoed(target, right, commands.get(&right.command), report);
        }
    }
}

/// A message is answered once and that is known, anything else never.
///
/// Where the platform does not notice a second send, one whose fate a crash has hidden is not made
/// again: it was seen once or never, and is told as ambiguous.
fn echoed(target: &Target, right: &Right, told: Option<&Progress>, report: &mut Report) {
    let may_be_ambiguous = matches!(target.scene, Scene::Channel | Scene::Dm);
    let as_promised = match (right.is_asked, right.replies, told) {
        (false, 0, _) => true,
        (true, 1, Some(Progress::Ended(Outcome::Sent { .. } | Outcome::Deduped))) => true,
        (true, 0 | 1, Some(Progress::Ended(Outcome::Ambiguous))) if may_be_ambiguous => {
            report.tally.ambiguous += 1;
            true
        }
        _ => false,
    };
    if !as_promised {
        let replies = right.replies;
        let found = format!("{target:?} was answered {replies} times, and it is told as {told:?}");
        report.violated(Rule::Replied, found);
    }
}

/// What a reply answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Target {
    app: AppId,
    scene: Scene,
    scope: String,
    id: String,
}

impl Target {
    fn of(app: &AppId, sent: &Sent) -> Option<Self> {
        let id = sent.msg_id.clone().or_else(|| sent.event_id.clone())?;
        Some(Self { app: app.clone(), scene: sent.scene, scope: sent.scope.clone(), id })
    }
}

/// The right to answer an event, and what was made of it.
struct Right {
    place: (Partition, u64),
    command: CommandId,
    expires_at_ms: u64,
    limit: Option<usize>,
    /// Whether an echo owes it an answer.
    is_asked: bool,
    replies: usize,
}

fn rights(log: &Log<'_>, report: &mut Report) -> HashMap<Target, Right> {
    let mut rights = HashMap::new();
    for entry in log.sources.values().flatten() {
        let What::Event { id } = entry.what else { continue };
        let event: Event<'_> = match serde_json::from_slice(&entry.stored.record.payload) {
            Ok(event) => event,
            Err(error) => {
                let found = format!("{} cannot be read: {error}", entry.place());
                report.violated(Rule::Complete, found);
                continue;
            }
        };
        let Some(right) = &event.reply else { continue };
        let (ReplyTarget::MsgId(target) | ReplyTarget::EventId(target)) = &right.to;
        let target = Target {
            app: AppId::from(event.app.as_str()),
            scene: event.scene,
            scope: event.scope.as_str().to_owned(),
            id: target.as_str().to_owned(),
        };
        let right = Right {
            place: (entry.partition, entry.stored.number),
            command: CommandId::of_handler(id, "echo", 0),
            expires_at_ms: right.expires_at.0,
            limit: right.limit.map(usize::from),
            is_asked: is_echoed(&event),
            replies: 0,
        };
        rights.insert(target, right);
    }
    rights
}

/// Whether somebody said something that the bot heard: bots are not answered.
fn is_echoed(event: &Event<'_>) -> bool {
    let message = event.message.as_ref().filter(|_| event.kind == EventKind::MessageCreate);
    message.is_some_and(|message| {
        let from_bot = message.author.as_ref().is_some_and(|author| author.bot);
        let text = message.text.as_deref().unwrap_or_default();
        !from_bot && !text.trim().is_empty()
    })
}

/// What is told of each command: one last word, and the truth.
fn outcomes(
    results: &[ResultRecord],
    rights: &HashMap<Target, Right>,
    report: &mut Report,
) -> HashMap<CommandId, Progress> {
    let seen = rights.values().filter(|right| right.replies > 0);
    let seen: HashSet<&CommandId> = seen.map(|right| &right.command).collect();
    let mut commands = HashMap::<CommandId, Progress>::new();
    for record in results {
        let progress = commands.entry(record.id.clone()).or_default();
        if let Err(error) = progress.note(record.news.clone()) {
            report.violated(Rule::Replied, format!("command {}: {error}", record.id));
        }
        let claims = matches!(record.news, News::Outcome(Outcome::Sent { .. } | Outcome::Deduped));
        if claims && !seen.contains(&record.id) {
            report.violated(Rule::Replied, format!("command {} was never seen", record.id));
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::super::{Expected, fixture};
    use super::*;
    use crate::run::Run;

    #[test]
    fn a_reply_that_is_seen_twice_is_found() {
        fixture::check(|run| run.reply(5), Rule::Replied);
    }

    #[test]
    fn more_replies_than_the_platform_takes_are_found() {
        let mut scene = fixture::Scene::new();
        (0..4).for_each(|_| scene.reply(5));
        let check = |run: &Run| crate::invariants::check(run, &Expected::default());
        check(&scene.clone().run()).assert_clean();
        scene.reply(5);
        assert!(!check(&scene.run()).is_clean());
    }

    #[test]
    fn an_event_that_nobody_answered_is_found() {
        fixture::check(
            |run| {
                run.pushed("s1", 6, 90);
                run.event("s1", 6, 90);
            },
            Rule::Replied,
        );
    }

    #[test]
    fn replies_in_another_order_than_their_events_are_found() {
        fixture::check(|run| run.swap_replies(), Rule::Replied);
    }

    #[test]
    fn a_late_reply_is_found() {
        fixture::check(
            |run| {
                run.pushed("s1", 6, 90);
                run.event("s1", 6, 90);
                run.later(6 * 60 * 1_000);
                run.reply(90);
                run.outcome(90, Outcome::Sent { message_id: None });
            },
            Rule::Replied,
        );
    }

    #[test]
    fn an_answer_to_what_the_log_does_not_have_is_found() {
        fixture::check(|run| run.reply(90), Rule::Replied);
    }

    #[test]
    fn a_reply_whose_fate_is_said_to_be_unknown_is_found_where_the_platform_would_tell() {
        fixture::check(
            |run| {
                run.pushed("s1", 6, 90);
                run.event("s1", 6, 90);
                run.outcome(90, Outcome::Ambiguous);
            },
            Rule::Replied,
        );
    }

    #[test]
    fn a_command_with_two_last_words_is_found() {
        fixture::check(|run| run.outcome(5, Outcome::Expired), Rule::Replied);
    }

    #[test]
    fn a_reply_that_was_told_as_sent_and_never_seen_is_found() {
        fixture::check(|run| run.outcome(91, Outcome::Sent { message_id: None }), Rule::Replied);
    }
}
