//! Shows events and replies as they pass.

use std::sync::Arc;
use std::time::Duration;

use qqrelay_simulator::journal::{Entry, Line};
use qqrelay_simulator::platform::Platform;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::out::{self, Ink, ink, one_line};

/// How often the journal is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Entries read at a time.
const PAGE: usize = 4096;

/// Replies shown of a look; of more, the number. Nobody reads faster.
const SHOWN: usize = 12;

/// Follows the journal until `over`, and shows what is there then.
pub(super) async fn show(platform: Arc<Platform>, over: CancellationToken) {
    let mut watch = Watch { next: 0, coloured: out::is_coloured() };
    let mut look = interval(LOOK_EVERY);
    while over.run_until_cancelled(look.tick()).await.is_some() {
        watch.look(&platform);
    }
    watch.look(&platform);
}

struct Watch {
    next: u64,
    coloured: bool,
}

impl Watch {
    fn look(&mut self, platform: &Platform) {
        let page = platform.journal.page(self.next, PAGE);
        self.next = page.next;
        let mut hidden = 0;
        let mut shown = 0;
        for line in &page.lines {
            let Some(text) = self.text(line) else { continue };
            if shown < SHOWN || !matches!(line.entry, Entry::Rest { .. }) {
                shown += 1;
                out::line(text);
            } else {
                hidden += 1;
            }
        }
        if hidden > 0 {
            out::line(ink(&format!("          … and {hidden} more"), Ink::Dim, self.coloured));
        }
    }

    fn text(&mut self, line: &Line) -> Option<String> {
        let clock = jiff::Timestamp::from_millisecond(line.at_ms).ok()?;
        let clock = ink(&clock.strftime("%H:%M:%S%.3f").to_string(), Ink::Dim, self.coloured);
        match &line.entry {
            Entry::Rest { applied: true, sent: Some(sent), .. } => Some(format!(
                "{clock}  {:8} {:24} {} {}",
                sent.scene.as_str(),
                one_line(&sent.scope, 24),
                ink("→", Ink::Green, self.coloured),
                one_line(&sent.content, 40),
            )),
            Entry::Ready { shard, session, .. } => Some(self.notice(
                &clock,
                Ink::Cyan,
                &format!("shard {shard} began session {session}"),
            )),
            Entry::Resumed { shard, after, seq, .. } => {
                let missed = seq.saturating_sub(after + 1);
                let what =
                    format!("shard {shard} resumed after {after}: {missed} events came again");
                Some(self.notice(&clock, Ink::Cyan, &what))
            }
            Entry::Reconnect { .. } => {
                Some(self.notice(&clock, Ink::Yellow, "the platform asks for a new connection"))
            }
            Entry::Close { code, .. } => {
                let code = code.map_or_else(|| "no code".to_owned(), |code| code.to_string());
                Some(self.notice(&clock, Ink::Yellow, &format!("a connection ended, {code}")))
            }
            _ => None,
        }
    }

    fn notice(&self, clock: &str, colour: Ink, what: &str) -> String {
        format!("{clock}  {}", ink(what, colour, self.coloured))
    }
}
