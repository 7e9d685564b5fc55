//! One socket's life, from Hello to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::fault::SocketFault;
use super::frame;
use super::link::{Closing, Link, Order};
use super::reader::{Heard, Reader};
use super::writer::Writer;
use crate::faults::Occasion;
use crate::journal::{By, Entry};
use crate::platform::Platform;
use crate::wire::Cutter;

/// Serves one client until either side ends it.
///
/// Reading and writing go on side by side: a client that does not read must still be heard, and one
/// that does not write must still be served.
pub(super) async fn serve(
    platform: &Arc<Platform>,
    io: TokioIo<Upgraded>,
    cutter: Cutter,
    peer: SocketAddr,
) {
    let number = platform.next_connection();
    let (link, orders) = Link::new(number, cutter);
    platform.journal.record(Entry::Connected { connection: number, peer: peer.to_string() });
    let _counted = platform.links.enter(Arc::clone(&link));
    greet(platform, &link);
    let (incoming, outgoing) = tokio::io::split(io);
    let mut reader = Reader::new(platform, Arc::clone(&link), incoming).await;
    let mut writer = Writer::new(platform, Arc::clone(&link), outgoing, orders);
    let heard = tokio::select! {
        biased;
        () = link.was_cut() => Heard::Nothing,
        () = platform.stop.cancelled() => Heard::Nothing,
        heard = reader.run() => heard,
        () = writer.run() => Heard::Nothing,
    };
    match heard {
        Heard::Close(code, reason) if !link.is_over() => {
            reader.client_closed(code);
            link.close(platform, By::Client, code, &reason);
            writer.answer_close(code, &reason).await;
        }
        Heard::Close(..) | Heard::Nothing => link.close(platform, By::Network, None, ""),
    }
}

/// Says Hello, and sets the time at which the socket is sent away.
fn greet(platform: &Platform, link: &Link) {
    let before_hello =
        |fault: &SocketFault| matches!(fault, SocketFault::NoHello | SocketFault::HelloInterval(_));
    let announced = platform.config.heartbeat_interval.as_millis();
    let announced = Value::from(u64::try_from(announced).unwrap_or(u64::MAX));
    let interval = match platform.faults.socket.strike_if(&Occasion::default(), before_hello) {
        Some(SocketFault::NoHello) => return,
        Some(SocketFault::HelloInterval(interval)) => interval,
        _ => announced,
    };
    platform.journal.record(Entry::Hello { connection: link.number });
    let hello = json!({"op": 10, "d": {"heartbeat_interval": interval}});
    link.order(Order::Write(frame::text(&hello.to_string())));
}

/// Sends a client away as production does every half hour: op 7, then 4009.
pub(crate) fn reconnect(platform: &Platform, link: &Link, closing: Closing) {
    platform.journal.record(Entry::Reconnect { connection: link.number });
    link.order(Order::Write(frame::text(r#"{"op":7}"#)));
    link.order(Order::Close(closing));
}

/// Declares a client's session invalid, and closes: some SDKs wait for that.
pub(crate) fn invalid_session(platform: &Platform, link: &Link, resumable: bool, closing: Closing) {
    platform.journal.record(Entry::InvalidSession { connection: link.number, resumable });
    link.order(Order::Write(frame::text(&format!(r#"{{"op":9,"d":{resumable}}}"#))));
    link.order(Order::Close(closing));
}
