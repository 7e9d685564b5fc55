use super::*;
use proptest::prelude::*;
use qqrelay_proto::subject::Partition;
use std::collections::BTreeSet;

type Machine = Scopes<u8, ()>;

const SMALL: Bounds = Bounds {
    scope_pieces: 3,
    scope_bytes: 1000,
    lane_bytes: 2000,
    in_hand: 4,
    above_floor: 1_000_000,
};

fn at(number: u64) -> Position {
    Position { stream: WorkStream::Events(Partition::Chain(0)), number }
}

fn elsewhere(number: u64) -> Position {
    Position { stream: WorkStream::Events(Partition::Chain(1)), number }
}

fn piece(position: Position, scope: u8) -> Piece<u8, ()> {
    Piece { position, scope, identity: None, bytes: 10, work: () }
}

fn named(position: Position, scope: u8, id: &str) -> Piece<u8, ()> {
    Piece {
        identity: Some(Identity { app: "102".into(), id: id.into() }),
        ..piece(position, scope)
    }
}

/// What the outputs since the last call say, as text: `start 1`, `ack 2`, ….
fn drained(machine: &mut Machine) -> Vec<String> {
    let mut said = Vec::new();
    while let Some(output) = machine.poll() {
        said.push(match output {
            Output::Start(piece) => format!("start {}", piece.position.number),
            Output::Stop(position) => format!("stop {}", position.number),
            Output::DeadLetter(piece, cause) => format!("{cause:?} {}", piece.position.number),
            Output::Settle(position, _) => format!("settle {}", position.number),
            Output::Ack(position) => format!("ack {}", position.number),
        });
    }
    said
}

#[track_caller]
fn check(machine: &mut Machine, expected: &[&str]) {
    assert_eq!(drained(machine), expected);
}

#[test]
fn a_scope_is_first_in_first_out_and_scopes_run_beside_each_other() {
    let mut machine = Machine::new(SMALL);
    for (number, scope) in [(1, 7), (2, 7), (3, 7), (4, 8)] {
        machine.arrive(piece(at(number), scope), 1);
    }
    check(&mut machine, &["start 1", "start 4"]);
    machine.finished(at(1));
    check(&mut machine, &["settle 1", "start 2"]);
    machine.settled(at(1));
    check(&mut machine, &["ack 1"]);
}

#[test]
fn what_is_over_a_scopes_bound_is_dead_lettered_in_order_and_acknowledged_last() {
    let mut machine = Machine::new(SMALL);
    for number in 1..=6 {
        machine.arrive(piece(at(number), 7), 1);
    }
    machine.arrive(piece(at(7), 8), 1);
    check(&mut machine, &["start 1", "Overflow 5", "Overflow 6", "start 7"]);
    machine.finished(at(5));
    check(&mut machine, &["settle 5"]);
    machine.settled(at(5));
    check(&mut machine, &["ack 5"]);
}

#[test]
fn large_pieces_overflow_before_many_do_but_one_may_always_wait() {
    let mut machine = Machine::new(SMALL);
    let large = |number| Piece { bytes: 900, ..piece(at(number), 7) };
    for number in 1..=3 {
        machine.arrive(large(number), 1);
    }
    check(&mut machine, &["start 1", "Overflow 3"]);
}

#[test]
fn a_full_lane_takes_no_more_in_until_something_is_over() {
    let mut machine = Machine::new(SMALL);
    for number in 1..=4 {
        assert!(machine.wants_more());
        machine.arrive(Piece { bytes: 500, ..piece(at(number), number as u8) }, 1);
    }
    assert!(!machine.wants_more());
    machine.finished(at(2));
    assert!(machine.wants_more());
}

#[test]
fn only_so_many_scopes_are_worked_on_and_the_next_follows() {
    let mut machine = Machine::new(SMALL);
    for number in 1..=5 {
        machine.arrive(piece(at(number), number as u8), 1);
    }
    check(&mut machine, &["start 1", "start 2", "start 3", "start 4"]);
    machine.finished(at(3));
    check(&mut machine, &["settle 3", "start 5"]);
}

#[test]
fn a_redelivery_of_what_is_open_is_ignored_and_of_what_is_finished_acked_again() {
    let mut machine = Machine::new(SMALL);
    machine.arrive(piece(at(1), 7), 1);
    machine.arrive(piece(at(2), 7), 1);
    drained(&mut machine);
    machine.arrive(piece(at(1), 7), 2);
    machine.arrive(piece(at(2), 7), 2);
    check(&mut machine, &[]);
    machine.finished(at(1));
    machine.settled(at(1));
    drained(&mut machine);
    machine.arrive(piece(at(1), 7), 3);
    check(&mut machine, &["ack 1"]);
}

#[test]
fn what_another_holder_finished_is_acked_without_work() {
    let mut machine = Machine::new(SMALL);
    machine.arrive_finished(at(1));
    check(&mut machine, &["ack 1"]);
}

#[test]
fn two_records_of_one_event_are_worked_on_once() {
    let mut machine = Machine::new(SMALL);
    machine.arrive(named(at(1), 7, "102:m"), 1);
    machine.arrive(named(elsewhere(9), 7, "102:m"), 1);
    check(&mut machine, &["start 1"]);
    machine.finished(at(1));
    check(&mut machine, &["settle 1", "settle 9"]);
    machine.settled(elsewhere(9));
    machine.settled(at(1));
    check(&mut machine, &["ack 9", "ack 1"]);
}

#[test]
fn a_record_of_an_event_whose_done_mark_is_on_its_way_is_recognised() {
    let mut machine = Machine::new(SMALL);
    machine.arrive(named(at(1), 7, "102:m"), 1);
    machine.finished(at(1));
    check(&mut machine, &["start 1", "settle 1"]);
    machine.arrive(named(elsewhere(9), 7, "102:m"), 1);
    check(&mut machine, &["settle 9"]);
    machine.settled(at(1));
    machine.settled(elsewhere(9));
    check(&mut machine, &["ack 1", "ack 9"]);
}

#[test]
fn a_second_record_of_an_event_that_overflows_follows_it_and_leads_nothing() {
    let mut machine = Machine::new(SMALL);
    for number in 1..=4 {
        machine.arrive(piece(at(number), 7), 1);
    }
    machine.arrive(named(at(5), 7, "102:m"), 1);
    machine.arrive(named(elsewhere(9), 7, "102:m"), 1);
    check(&mut machine, &["start 1", "Overflow 5"]);
    machine.finished(at(5));
    check(&mut machine, &["settle 5", "settle 9"]);
}

#[test]
fn without_done_marks_acknowledgements_leave_from_the_floor_only() {
    let mut machine = Machine::new(SMALL);
    for number in 1..=3 {
        machine.arrive(piece(at(number), number as u8), 1);
    }
    for number in [2, 3] {
        machine.finished(at(number));
        machine.unmarked(at(number));
    }
    check(&mut machine, &["start 1", "start 2", "start 3", "settle 2", "settle 3"]);
    machine.finished(at(1));
    machine.unmarked(at(1));
    check(&mut machine, &["settle 1", "ack 1", "ack 2", "ack 3"]);
}

#[test]
fn a_mark_written_late_frees_its_piece_at_once() {
    let mut machine = Machine::new(SMALL);
    machine.arrive(piece(at(1), 1), 1);
    machine.arrive(piece(at(2), 2), 1);
    machine.finished(at(2));
    machine.unmarked(at(2));
    drained(&mut machine);
    machine.settled(at(2));
    check(&mut machine, &["ack 2"]);
}

#[test]
fn what_holds_the_floor_too_long_is_given_up_wherever_it_is() {
    let bounds = Bounds { above_floor: 2, ..SMALL };
    let mut machine = Machine::new(bounds);
    for (number, scope) in [(1, 7), (2, 7)] {
        machine.arrive(piece(at(number), scope), 1);
    }
    machine.arrive_finished(at(3));
    check(&mut machine, &["start 1", "ack 3"]);
    machine.arrive_finished(at(4));
    check(&mut machine, &["ack 4", "stop 1"]);
    machine.finished(at(1));
    check(&mut machine, &["settle 1", "start 2"]);
    machine.settled(at(1));
    machine.arrive_finished(at(5));
    check(&mut machine, &["ack 1", "ack 5", "stop 2"]);
}

#[test]
fn what_waits_behind_a_stuck_piece_of_another_stream_is_given_up_too() {
    let bounds = Bounds { above_floor: 1, ..SMALL };
    let mut machine = Machine::new(bounds);
    machine.arrive(piece(elsewhere(9), 7), 1);
    machine.arrive(piece(at(1), 7), 1);
    machine.arrive_finished(at(2));
    machine.arrive_finished(at(3));
    check(&mut machine, &["start 9", "ack 2", "ack 3", "Stuck 1"]);
    machine.finished(at(1));
    machine.settled(at(1));
    check(&mut machine, &["settle 1", "ack 1"]);
}

#[test]
fn after_a_reopening_what_waited_comes_again_and_what_is_in_hand_is_recognised() {
    let mut machine = Machine::new(SMALL);
    machine.arrive(piece(at(1), 7), 1);
    machine.arrive(piece(at(2), 7), 1);
    drained(&mut machine);
    machine.reopened();
    assert_eq!(machine.waiting(), 0);
    machine.arrive(piece(at(1), 7), 1);
    machine.arrive(piece(at(2), 7), 1);
    check(&mut machine, &[]);
    machine.finished(at(1));
    check(&mut machine, &["settle 1", "start 2"]);
}

#[test]
fn what_comes_again_holds_the_floor_until_it_has() {
    let mut machine = Machine::new(SMALL);
    for (number, scope) in [(1, 7), (2, 7), (3, 8)] {
        machine.arrive(piece(at(number), scope), 1);
    }
    machine.finished(at(3));
    machine.reopened();
    assert!(machine.unmarked(at(3)));
    machine.finished(at(1));
    machine.settled(at(1));
    check(&mut machine, &["start 1", "start 3", "settle 3", "settle 1", "ack 1"]);
    machine.arrive(piece(at(2), 7), 1);
    machine.finished(at(2));
    machine.settled(at(2));
    check(&mut machine, &["start 2", "settle 2", "ack 2", "ack 3"]);
}

#[test]
fn a_draining_lane_finishes_what_is_in_hand_and_starts_nothing() {
    let mut machine = Machine::new(SMALL);
    machine.arrive(piece(at(1), 7), 1);
    machine.arrive(piece(at(2), 7), 1);
    machine.arrive(piece(at(3), 8), 1);
    machine.drain();
    drained(&mut machine);
    machine.arrive(piece(at(4), 9), 1);
    assert!(!machine.wants_more());
    machine.finished(at(1));
    machine.settled(at(1));
    machine.abandoned(at(3));
    check(&mut machine, &["settle 1", "ack 1"]);
    assert!(machine.is_idle());
}

#[derive(Debug, Clone)]
enum Op {
    Arrive { scope: u8, event: Option<u8>, bytes: usize },
    Again(usize),
    Finish(usize),
    Settle(usize),
    FailToMark(usize),
    Reopen,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..4_u8, prop::option::of(0..30_u8), 1..400_usize)
            .prop_map(|(scope, event, bytes)| Op::Arrive { scope, event, bytes }),
        2 => any::<usize>().prop_map(Op::Again),
        5 => any::<usize>().prop_map(Op::Finish),
        4 => any::<usize>().prop_map(Op::Settle),
        1 => any::<usize>().prop_map(Op::FailToMark),
        1 => Just(Op::Reopen),
    ]
}

/// A driver that obeys the machine, and watches it.
#[derive(Default)]
struct Watched {
    delivered: Vec<Piece<u8, ()>>,
    over: Vec<Position>,
    finishing: Vec<Position>,
    started: Vec<(u8, u64)>,
    busy: BTreeSet<u8>,
    overflowed: Vec<(u8, u64)>,
    finished: BTreeSet<u64>,
    marked: BTreeSet<u64>,
    acked: BTreeSet<u64>,
}

impl Watched {
    fn obey(&mut self, machine: &mut Machine) {
        while let Some(output) = machine.poll() {
            match output {
                Output::Start(piece) => {
                    assert!(self.busy.insert(piece.scope), "two of one scope in hand");
                    self.started.push((piece.scope, piece.position.number));
                    self.over.push(piece.position);
                }
                Output::Stop(_) => {}
                Output::DeadLetter(piece, _) => {
                    self.overflowed.push((piece.scope, piece.position.number));
                    self.over.push(piece.position);
                }
                Output::Settle(position, _) => {
                    self.finished.insert(position.number);
                    self.finishing.push(position);
                }
                Output::Ack(position) => {
                    let below = |open: &u64| *open < position.number;
                    assert!(self.finished.contains(&position.number), "acked unfinished work");
                    assert!(
                        self.marked.contains(&position.number)
                            || !self.unfinished().any(|open| below(&open)),
                        "acked an unmarked piece above the floor"
                    );
                    self.acked.insert(position.number);
                }
            }
        }
    }

    fn unfinished(&self) -> impl Iterator<Item = u64> {
        let numbers = self.delivered.iter().map(|piece| piece.position.number);
        numbers.filter(|number| !self.finished.contains(number))
    }

    fn finish(&mut self, machine: &mut Machine, pick: usize) {
        if let Some(position) = pick_from(&mut self.over, pick) {
            let scope = self.delivered[position.number as usize - 1].scope;
            if self.started.iter().any(|&(_, number)| number == position.number) {
                self.busy.remove(&scope);
            }
            machine.finished(position);
        }
    }
}

fn pick_from<T>(all: &mut Vec<T>, pick: usize) -> Option<T> {
    (!all.is_empty()).then(|| all.remove(pick % all.len()))
}

proptest! {
    /// Whatever happens in whatever order: a scope starts its pieces in the order they arrived and
    /// one at a time, nothing is acknowledged that is not finished and marked or at the floor, all
    /// bounds hold, and in the end every piece is acknowledged.
    #[test]
    fn order_bounds_and_acknowledgements_hold(ops in prop::collection::vec(any_op(), 0..200)) {
        let mut machine = Machine::new(SMALL);
        let mut seen = Watched::default();
        for op in ops {
            match op {
                Op::Arrive { scope, event, bytes } => {
                    let number = seen.delivered.len() as u64 + 1;
                    // An event belongs to one scope, whatever record brings it.
                    let scope = event.map_or(scope, |event| event % 4);
                    let identity = event
                        .map(|event| Identity { app: "102".into(), id: event.to_string().into() });
                    let piece = Piece { position: at(number), scope, identity, bytes, work: () };
                    seen.delivered.push(piece.clone());
                    machine.arrive(piece, 1);
                }
                Op::Again(pick) => {
                    if !seen.delivered.is_empty() {
                        let piece = seen.delivered[pick % seen.delivered.len()].clone();
                        machine.arrive(piece, 2);
                    }
                }
                Op::Finish(pick) => seen.finish(&mut machine, pick),
                Op::Settle(pick) => {
                    if let Some(position) = pick_from(&mut seen.finishing, pick) {
                        seen.marked.insert(position.number);
                        machine.settled(position);
                    }
                }
                Op::FailToMark(pick) => {
                    if let Some(position) = pick_from(&mut seen.finishing, pick) {
                        machine.unmarked(position);
                    }
                }
                Op::Reopen => {
                    machine.reopened();
                    seen.obey(&mut machine);
                    for piece in seen.delivered.clone() {
                        if !seen.acked.contains(&piece.position.number) {
                            machine.arrive(piece, 1);
                        }
                    }
                }
            }
            seen.obey(&mut machine);
            prop_assert!(machine.in_hand() <= SMALL.in_hand);
            prop_assert!(machine.waiting() <= 4 * SMALL.scope_pieces);
        }
        while !(seen.over.is_empty() && seen.finishing.is_empty()) {
            seen.finish(&mut machine, 0);
            seen.obey(&mut machine);
            for position in std::mem::take(&mut seen.finishing) {
                seen.marked.insert(position.number);
                machine.settled(position);
            }
            seen.obey(&mut machine);
        }
        prop_assert_eq!(seen.acked.len(), seen.delivered.len());
        prop_assert!(machine.is_idle());
        prop_assert_eq!(machine.bytes(), 0);
        for scope in 0..4 {
            for list in [&seen.started, &seen.overflowed] {
                let numbers: Vec<_> = list.iter().filter(|(of, _)| *of == scope).collect();
                prop_assert!(numbers.is_sorted());
            }
        }
    }
}
