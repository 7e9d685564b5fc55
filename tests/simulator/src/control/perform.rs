//! Makes things happen.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use qqrelay_proto::id::AppId;
use serde::{Deserialize, Serialize};

use super::action::{Action, Arming, Lapse, RawBytes, Target};
use crate::app::AppHandle;
use crate::gateway::frame;
use crate::gateway::link::{Closing, Link, Order, Stalled};
use crate::gateway::session::Session;
use crate::gateway::socket;
use crate::journal::Entry;
use crate::platform::{Platform, Pushed};

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// How many sessions or sockets it touched.
    pub touched: usize,
    /// Where events went.
    pub pushed: Vec<Pushed>,
    /// The number of the fault that was armed.
    pub armed: Option<u64>,
}

/// Why an action did not happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// There is no such bot.
    #[error("there is no bot {0}")]
    UnknownApp(AppId),
    /// The event was never pushed, or so long ago that it is forgotten.
    #[error("there is no injection {0} to push again")]
    UnknownInjection(u64),
    /// The text is not base64.
    #[error("the bytes are not base64")]
    NotBase64,
}

impl Outcome {
    fn touching(touched: usize) -> Self {
        Self { touched, ..Self::default() }
    }
}

impl Platform {
    /// Makes something happen, and notes it in the journal.
    ///
    /// # Errors
    ///
    /// When the action names what there is not; nothing has happened then.
    pub fn perform(self: &Arc<Self>, action: &Action) -> Result<Outcome, ActionError> {
        // Injections are in the journal as dispatches; millions of them need no second entry.
        if !matches!(action, Action::Inject { .. } | Action::PushAgain { .. }) {
            let action = serde_json::to_value(action).unwrap_or_default();
            self.journal.record(Entry::Action { action });
        }
        match action {
            Action::Inject { app, event, times } => {
                let app = self.known(app)?;
                let pushed = (0..*times).map(|_| self.inject(&app, event)).collect();
                Ok(Outcome { pushed, ..Outcome::default() })
            }
            Action::PushAgain { injection } => {
                let pushed = self.push_again(*injection);
                let pushed = pushed.ok_or(ActionError::UnknownInjection(*injection))?;
                Ok(Outcome { pushed: vec![pushed], ..Outcome::default() })
            }
            Action::Arm(arming) => {
                let number = self.arm(arming);
                Ok(Outcome { armed: Some(number), ..Outcome::default() })
            }
            Action::Disarm => {
                self.faults.rest.disarm(None);
                self.faults.token.disarm(None);
                self.faults.socket.disarm(None);
                Ok(Outcome::default())
            }
            Action::ExpireTokens { app } => {
                self.tokens.expire(&self.known(app)?.id);
                Ok(Outcome::touching(1))
            }
            Action::Stand { app, standing } => {
                let app = self.known(app)?;
                app.set_standing(*standing);
                let Some(code) = standing.ban else { return Ok(Outcome::touching(1)) };
                let close = Order::Close(Closing::now(code, "bot is not available"));
                Ok(self.each_link(&Target::app(app.id.clone()), |link| link.order(close.clone())))
            }
            Action::Advance { by } => {
                self.clock.advance(*by);
                Ok(Outcome::default())
            }
            Action::Shards { count } => {
                self.recommend_shards(*count);
                Ok(Outcome::default())
            }
            Action::TellUrl { url } => {
                self.tell_url(url.clone());
                Ok(Outcome::default())
            }
            Action::IdentifiesLeft { app, remaining } => {
                let app = self.known(app)?;
                let a_day = self.config.gateway.identifies_a_day;
                self.identifies.leave(&app.id, *remaining, a_day, self.now());
                Ok(Outcome::touching(1))
            }
            Action::Silence { .. } | Action::Skip { .. } | Action::EndSession { .. } => {
                Ok(self.perform_on_sessions(action))
            }
            _ => self.perform_on_sockets(action),
        }
    }

    fn perform_on_sessions(&self, action: &Action) -> Outcome {
        match action {
            Action::Silence { target, silence } => {
                self.each_session(target, |session| session.set_silence(*silence))
            }
            Action::Skip { target, count } => {
                self.each_session(target, |session| session.skip(*count))
            }
            Action::EndSession { target } => self.each_session(target, |session| {
                let link = session.link();
                session.end("it was ended by an action");
                if let Some(link) = link {
                    let delay = self.config.gateway.close_delay;
                    let closing = Closing::now(4006, "session no longer valid").after(delay);
                    socket::invalid_session(self, &link, false, closing);
                }
            }),
            _ => Outcome::default(),
        }
    }

    fn perform_on_sockets(self: &Arc<Self>, action: &Action) -> Result<Outcome, ActionError> {
        let delay = self.config.gateway.close_delay;
        Ok(match action {
            Action::Reconnect { target, code, after } => self.each_link(target, |link| {
                let closing = Closing::now(*code, "Session timed out");
                socket::reconnect(self, link, closing.after(after.unwrap_or(delay)));
            }),
            Action::InvalidSession { target, resumable, code } => self.each_link(target, |link| {
                let closing = Closing::now(*code, "session no longer valid").after(delay);
                socket::invalid_session(self, link, *resumable, closing);
            }),
            Action::Close { target, code, reason } => self.each_link(target, |link| {
                let closing = Closing { code: *code, ..Closing::now(0, reason.clone()) };
                link.order(Order::Close(closing));
            }),
            Action::Cut { target } => self.each_link(target, |link| link.cut()),
            Action::HangUp { target } => self.each_link(target, |link| link.order(Order::HangUp)),
            Action::Stall { target, reading, writing, lasts } => {
                let stalled = Stalled { reading: *reading, writing: *writing };
                self.each_link(target, |link| {
                    link.stall(stalled);
                    if let Some(lasts) = *lasts {
                        let link = Arc::clone(link);
                        self.tasks.spawn(async move {
                            tokio::time::sleep(lasts).await;
                            link.stall(Stalled::default());
                        });
                    }
                })
            }
            Action::Again { target, lapse } => self.each_link(target, |link| {
                if let Some(session) = link.session() {
                    self.send_again(link, session, *lapse);
                }
            }),
            Action::Raw { target, bytes } => {
                let bytes = wire_bytes(bytes)?;
                self.each_link(target, |link| {
                    let (connection, length) = (link.number, bytes.len());
                    self.journal.record(Entry::Raw { connection, bytes: length });
                    link.order(Order::Write(bytes.clone()));
                })
            }
            _ => Outcome::default(),
        })
    }

    fn send_again(&self, link: &Link, session: &Session, lapse: Lapse) {
        let last = session.last_seq();
        let (from, to) = match lapse {
            Lapse::Last(count) => (last.saturating_sub(count.saturating_sub(1)), last),
            Lapse::Back(by) => (last.saturating_sub(by), last.saturating_sub(by)),
        };
        let (connection, id) = (link.number, session.id.clone());
        self.journal.record(Entry::Again { connection, session: id, from, to });
        link.order(Order::Write(session.kept(from, to).concat().into()));
    }

    fn arm(&self, arming: &Arming) -> u64 {
        match arming {
            Arming::Rest(armed) => self.faults.rest.arm(armed.clone()),
            Arming::Token(armed) => self.faults.token.arm(armed.clone()),
            Arming::Socket(armed) => self.faults.socket.arm(armed.clone()),
        }
    }

    fn known(&self, app: &AppId) -> Result<AppHandle, ActionError> {
        self.app(app.as_str()).cloned().ok_or_else(|| ActionError::UnknownApp(app.clone()))
    }

    fn each_session(&self, target: &Target, mut act: impl FnMut(&Arc<Session>)) -> Outcome {
        let sessions = self.sessions.all(self.now());
        let matching = sessions.iter().filter(|session| {
            let connection = session.link().map(|link| link.number);
            target.matches(Some(session), connection)
        });
        Outcome::touching(matching.map(&mut act).count())
    }

    fn each_link(&self, target: &Target, mut act: impl FnMut(&Arc<Link>)) -> Outcome {
        let links = self.links.all();
        let matching =
            links.iter().filter(|link| target.matches(link.session(), Some(link.number)));
        Outcome::touching(matching.map(&mut act).count())
    }
}

impl Target {
    fn matches(&self, session: Option<&Arc<Session>>, connection: Option<u64>) -> bool {
        let of = |wanted: &dyn Fn(&Session) -> bool| session.is_some_and(|s| wanted(s));
        self.app.as_ref().is_none_or(|app| of(&|session| session.app.id == *app))
            && self.shard.is_none_or(|shard| of(&|session| session.shard == shard))
            && self.session.as_ref().is_none_or(|id| of(&|session| session.id.as_str() == id))
            && self.connection.is_none_or(|number| connection == Some(number))
    }
}

fn wire_bytes(bytes: &RawBytes) -> Result<Bytes, ActionError> {
    match bytes {
        RawBytes::Text(text) => Ok(frame::text(text)),
        RawBytes::Base64(text) => {
            STANDARD.decode(text).map(Bytes::from).map_err(|_| ActionError::NotBase64)
        }
    }
}
