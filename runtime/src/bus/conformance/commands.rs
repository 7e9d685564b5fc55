//! Rules of commands: the lane, the id, and the end.

use qqrelay_proto::id::{Scene, Scope};
use qqrelay_proto::record::RECORD_BYTES_MAX;
use qqrelay_proto::subject::Lane;
use tokio::task::JoinSet;

use super::Fixture;
use super::stage::{next, payload, place, scope_in, take, within};
use crate::bus::{Accepted, BusError, WorkStream};

fn lane() -> Lane {
    Lane::new(9).expect("there are 16 lanes")
}

/// The lane that also gets the events of that scope, so that one worker has both.
pub async fn a_command_goes_to_the_lane_of_its_scope(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    for (number, lane) in Lane::all().enumerate() {
        let subject = place(&scope_in("102", lane)).command("send");
        let stored = bus.command(&format!("c-{number}"), &subject, payload(number as u64)).await;
        assert_eq!(stored.expect("the bus is up"), Accepted::New);
    }
    for (number, lane) in Lane::all().enumerate() {
        let mut feed = bus.lane(lane).await.expect("the bus is up");
        let delivery = next(&mut feed).await;
        assert_eq!(delivery.position.stream, WorkStream::Commands);
        let record = delivery.stored.record;
        assert_eq!(record.subject, place(&scope_in("102", lane)).stored_command("send"));
        assert_eq!(record.payload, payload(number as u64));
    }
}

/// Asking again is safe, also for another place and over a restart.
pub async fn an_id_is_stored_once(fixture: &mut impl Fixture) {
    let subject = place(&scope_in("102", lane())).command("send");
    let other = place(&Scope::new(Scene::C2c, "somebody")).command("send");
    let bus = fixture.bus();
    let first = bus.command("c-1", &subject, payload(1)).await.expect("the bus is up");
    assert_eq!(first, Accepted::New);
    for subject in [&subject, &other] {
        let again = bus.command("c-1", subject, payload(2)).await.expect("the bus is up");
        assert_eq!(again, Accepted::Known);
    }
    drop(bus);
    fixture.reopen().await;
    let bus = fixture.bus();
    let again = bus.command("c-1", &subject, payload(3)).await.expect("the bus is up");
    assert_eq!(again, Accepted::Known);
    let another = bus.command("c-10", &subject, payload(10)).await.expect("the bus is up");
    assert_eq!(another, Accepted::New);
    let mut feed = bus.lane(lane()).await.expect("the bus is up");
    let given = take(&mut feed, 2).await;
    let given: Vec<_> = given.into_iter().map(|delivery| delivery.stored.record.payload).collect();
    assert_eq!(given, [payload(1), payload(10)]);
}

/// However many ask at the same time.
pub async fn of_a_crowd_with_one_id_one_is_new(fixture: &mut impl Fixture) {
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let bus = fixture.bus();
        tasks.spawn(async move {
            let subject = place(&scope_in("102", lane())).command("send");
            bus.command("c-1", &subject, payload(number)).await.expect("the bus is up")
        });
    }
    let accepted = within("a crowd of commands", tasks.join_all()).await;
    let new = accepted.into_iter().filter(|accepted| *accepted == Accepted::New).count();
    assert_eq!(new, 1);
}

/// What is done leaves the stream; what is not is there after a restart, in order.
pub async fn a_finished_command_is_gone_and_an_unfinished_one_is_not(fixture: &mut impl Fixture) {
    let subject = place(&scope_in("102", lane())).command("send");
    let bus = fixture.bus();
    for number in 0..10 {
        bus.command(&format!("c-{number}"), &subject, payload(number)).await.expect("it is up");
    }
    let mut feed = bus.lane(lane()).await.expect("the bus is up");
    let given = take(&mut feed, 10).await;
    for delivery in given.iter().filter(|delivery| delivery.position.number % 2 == 0) {
        feed.ack(delivery.position);
    }
    let unfinished: Vec<_> =
        given.iter().filter(|delivery| delivery.position.number % 2 != 0).collect();
    // A takeover settles what was acknowledged before it.
    let mut feed = bus.lane(lane()).await.expect("the bus is up");
    for expected in &unfinished {
        assert_eq!(next(&mut feed).await.stored, expected.stored);
    }
    drop((feed, bus));
    fixture.reopen().await;
    let mut feed = fixture.bus().lane(lane()).await.expect("the bus is up");
    for expected in &unfinished {
        assert_eq!(next(&mut feed).await.stored, expected.stored);
    }
}

/// A subject that names no place, or more than a record may hold.
pub async fn what_is_no_command_is_refused(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let subject = place(&scope_in("102", lane())).command("send");
    for subject in ["qq.v1.cmd.102.group.A1", "qq.v1.res.102.group.A1.send", "", "qq.v1.cmd.>"] {
        let refused = bus.command("c-1", subject, payload(1)).await;
        assert!(matches!(refused, Err(BusError::Refused(_))), "{subject:?}: {refused:?}");
    }
    let large = vec![b' '; 2 * RECORD_BYTES_MAX].into();
    let refused = bus.command("c-1", &subject, large).await;
    assert!(matches!(refused, Err(BusError::Refused(_))), "{refused:?}");
    let fits = bus.command("c-1", &subject, payload(1)).await.expect("the bus is up");
    assert_eq!(fits, Accepted::New, "what was refused has used up no id");
}
