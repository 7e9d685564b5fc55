//! Rules of dead letters: nothing of the record is lost, and they can be leafed through.

use qqrelay_proto::subject::Lane;

use super::Fixture;
use super::stage::{PARTITION, event, place, scope_in};
use crate::bus::{DeadLetter, Position, StoredLetter, WorkStream};

fn letter(number: u64) -> DeadLetter {
    let scope = scope_in("102", Lane::new(3).expect("there are 16 lanes"));
    DeadLetter {
        subject: place(&scope).dead_letter("message_create"),
        reason: "overflow",
        detail: format!("257 wait; 消息 {number}"),
        position: Position { stream: WorkStream::Events(PARTITION), number },
        record: event(PARTITION, &scope, number),
    }
}

fn check(stored: &StoredLetter, expected: &DeadLetter) {
    assert_eq!(stored.subject, expected.subject);
    assert_eq!(stored.reason, expected.reason);
    assert_eq!(stored.detail, expected.detail);
    assert_eq!(stored.stream, expected.position.stream.to_string());
    assert_eq!(stored.stream_number, expected.position.number);
    assert_eq!(stored.record, expected.record);
}

/// Enough to handle it later as if nothing had happened.
pub async fn a_letter_keeps_the_record_and_where_it_came_from(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    let mut command = letter(7);
    command.position.stream = WorkStream::Commands;
    command.reason = "poison";
    for letter in [letter(41), command.clone()] {
        bus.dead_letter(letter).await.expect("the bus is up");
    }
    let found = bus.dead_letters(0, 10).await.expect("the bus is up");
    assert_eq!(found.len(), 2);
    check(&found[0], &letter(41));
    check(&found[1], &command);
    assert!(found[0].at_ms > 0);
}

/// A page begins where it is asked to, and ends after as many as asked for.
pub async fn letters_are_listed_page_by_page_after_a_restart(fixture: &mut impl Fixture) {
    let bus = fixture.bus();
    for number in 1..=10 {
        bus.dead_letter(letter(number)).await.expect("the bus is up");
    }
    drop(bus);
    fixture.reopen().await;
    let bus = fixture.bus();
    let (mut from, mut seen) = (0, Vec::new());
    loop {
        let page = bus.dead_letters(from, 4).await.expect("the bus is up");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        from = last.number + 1;
        seen.extend(page.iter().map(|letter| letter.stream_number));
    }
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());
}
