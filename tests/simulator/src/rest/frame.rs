//! What happens around every call: who is it, does a fault strike, what goes into the journal.
//!
//! A call is journalled once, before its answer leaves: a client that acts on the answer must find
//! it there. A client that goes away first leaves an entry, too.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use qqrelay_proto::id::{AppId, Scene};

use super::answer::Seen;
use super::caller::Caller;
use super::fault::{Delivery, Effect, Fault};
use crate::error::ApiError;
use crate::faults::Occasion;
use crate::journal::Entry;
use crate::platform::Platform;
use crate::rules::Refusal;
use crate::rules::rates::Route;
use crate::wire::Cutter;

/// Serves one call.
pub(super) async fn around(
    State(platform): State<Arc<Platform>>,
    request: Request,
    next: Next,
) -> Response {
    let mut note = Note::new(&platform, &request);
    let app = match platform.authenticate(request.headers()) {
        Ok(app) => app,
        Err(error) => return note.answered(error.into_response()),
    };
    note.app = Some(app.id.clone());
    let now = platform.now();
    let caller = Caller { platform: Arc::clone(&platform), app, now, audit: None };
    let fault = platform.faults.rest.strike(&Occasion {
        app: Some(&caller.app.id),
        path: Some(request.uri().path()),
        method: Some(request.method().as_str()),
        scene: scene_of(request.uri().path()),
        ..Occasion::default()
    });
    match fault {
        None => note.answered(serve(request, caller, next).await),
        Some(fault) => strike(fault, note, request, caller, next).await,
    }
}

async fn serve(mut request: Request, caller: Caller, next: Next) -> Response {
    request.extensions_mut().insert(caller);
    next.run(request).await
}

async fn strike(
    fault: Fault,
    mut note: Note,
    request: Request,
    mut caller: Caller,
    next: Next,
) -> Response {
    match fault {
        Fault::Slow { ms } => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            caller.now = caller.platform.now();
        }
        Fault::Audit { mode } => caller.audit = Some(mode),
        _ => {}
    }
    let cutter = request.extensions().get::<Cutter>().cloned().unwrap_or_default();
    let Some(answer) = fault.answer(cutter.clone()) else {
        return note.answered(serve(request, caller, next).await);
    };
    if fault.effect() == Effect::Applied {
        // People see what the handler did, whatever the client is told.
        let right = serve(request, caller, next).await;
        note.seen = right.extensions().get::<Seen>().cloned();
    }
    match fault.delivery() {
        Delivery::Whole => note.answered(answer),
        Delivery::Late(silence) => {
            let answer = note.answered(answer);
            tokio::time::sleep(silence).await;
            answer
        }
        Delivery::Partly => note.cut(answer),
        Delivery::Never => {
            drop(note.cut(answer));
            cutter.cut();
            std::future::pending().await
        }
    }
}

/// Answers a path that does not exist.
pub async fn unknown_route(State(platform): State<Arc<Platform>>, request: Request) -> Response {
    Note::new(&platform, &request).answered(Refusal::NoSuchApi.into_response())
}

/// Counts a call that has no rate of its own, by its method and path pattern.
pub(super) async fn count(
    caller: Caller,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let route = match path.as_str() {
        group if group.starts_with("/v2/groups/") => Route::GroupRead(group.to_owned()),
        other => Route::Other(format!("{} {other}", request.method())),
    };
    match caller.count(&route) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn scene_of(path: &str) -> Option<Scene> {
    let starts = [
        ("/v2/users/", Scene::C2c),
        ("/v2/groups/", Scene::Group),
        ("/channels/", Scene::Channel),
        ("/dms/", Scene::Dm),
        ("/guilds/", Scene::Guild),
    ];
    starts.into_iter().find(|(start, _)| path.starts_with(start)).map(|(_, scene)| scene)
}

/// The journal entry of one call, written when the call is answered or given up.
struct Note {
    platform: Arc<Platform>,
    method: String,
    path: String,
    app: Option<AppId>,
    /// What people see, where the response itself does not tell.
    seen: Option<Seen>,
    written: bool,
}

impl Note {
    fn new(platform: &Arc<Platform>, request: &Request) -> Self {
        Self {
            platform: Arc::clone(platform),
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            app: None,
            seen: None,
            written: false,
        }
    }

    fn answered(mut self, response: Response) -> Response {
        let seen = self.seen.take().or_else(|| response.extensions().get::<Seen>().cloned());
        let code = response.extensions().get::<ApiError>().map(|error| error.code);
        self.write(response.status().as_u16(), code, seen.unwrap_or_default());
        response
    }

    /// As [`Note::answered`], of an answer that never arrives whole.
    fn cut(mut self, response: Response) -> Response {
        let seen = self.seen.take().unwrap_or_default();
        self.write(0, None, seen);
        response
    }

    fn write(&mut self, status: u16, code: Option<u32>, seen: Seen) {
        self.written = true;
        self.platform.journal.record(Entry::Rest {
            method: std::mem::take(&mut self.method),
            path: std::mem::take(&mut self.path),
            app: self.app.take(),
            status,
            code,
            applied: seen.applied,
            sent: seen.sent,
        });
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if !self.written {
            let seen = self.seen.take().unwrap_or_default();
            self.write(0, None, seen);
        }
    }
}
