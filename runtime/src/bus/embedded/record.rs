//! A record as bytes in the file.
//!
//! In front stands what is looked at without reading the rest: the lane, so that a lane's feed can
//! pass over what is not its own, and the chain, so that the resume point can be kept up.

use qqrelay_proto::event::EventKind;
use qqrelay_proto::record::{EventHeaders, Headers, Record, Stored};
use qqrelay_proto::subject::{Lane, LogSubject, Partition};

/// Lane byte of a record that belongs to none.
const NO_LANE: u8 = u8::MAX;

/// Offsets of what stands in front: lane, time, length of the chain's name in the subject.
const LANE: usize = 0;
const TIME: usize = 1;
const CHAIN: usize = 9;
const FIELDS: usize = 11;

/// Which optional headers follow, a bit each.
mod has {
    pub(super) const SESSION: u8 = 1;
    pub(super) const SEQ: u8 = 2;
    pub(super) const OWNER: u8 = 4;
    pub(super) const EVENT: u8 = 8;
    pub(super) const TRACE: u8 = 16;
}

/// Where a record belongs, beside its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filing {
    /// The lane that works on it; only events have one.
    pub(super) lane: Option<Lane>,
    /// How much of the subject names whose chain it is: a source, or the partition's ownership.
    pub(super) chain: u16,
}

impl Filing {
    /// Of a record in the log; `None` for a subject that is not of this partition.
    pub(super) fn of_event(partition: Partition, subject: &str) -> Option<Self> {
        let filing = match subject.parse().ok()? {
            LogSubject::Ownership(of) => (of == partition).then_some((None, subject.len())),
            read => {
                let source = read.source()?;
                let lane =
                    if let LogSubject::Event { lane, .. } = read { Some(lane) } else { None };
                (source.partition == partition).then(|| (lane, source.to_string().len()))
            }
        };
        let (lane, chain) = filing?;
        Some(Self { lane, chain: u16::try_from(chain).ok()? })
    }

    /// Of something that is not in the log.
    pub(super) const fn elsewhere() -> Self {
        Self { lane: None, chain: 0 }
    }
}

/// Writes a record; the time is stamped later, by whoever stores it.
pub(super) fn encode(filing: Filing, record: &Record) -> Vec<u8> {
    let Record { subject, headers, payload } = record;
    let Headers { session, seq, owner, event, trace_parent } = headers;
    let mut bytes = Vec::with_capacity(record.size() + 64);
    bytes.push(filing.lane.map_or(NO_LANE, Lane::number));
    bytes.extend([0; 8]);
    bytes.extend(filing.chain.to_le_bytes());
    let bit = |present: bool, bit: u8| if present { bit } else { 0 };
    bytes.push(
        bit(session.is_some(), has::SESSION)
            | bit(seq.is_some(), has::SEQ)
            | bit(owner.is_some(), has::OWNER)
            | bit(event.is_some(), has::EVENT)
            | bit(trace_parent.is_some(), has::TRACE),
    );
    push_text(&mut bytes, subject);
    if let Some(session) = session {
        push_text(&mut bytes, session.as_str());
    }
    if let Some(seq) = seq {
        bytes.extend(seq.to_le_bytes());
    }
    if let Some(owner) = owner {
        push_text(&mut bytes, owner.as_str());
    }
    if let Some(EventHeaders { id, app, kind }) = event {
        push_text(&mut bytes, id);
        push_text(&mut bytes, app.as_str());
        push_text(&mut bytes, kind.as_str());
    }
    if let Some(trace) = trace_parent {
        push_text(&mut bytes, trace);
    }
    bytes.extend(payload);
    bytes
}

/// Stamps the time on an encoded record.
pub(super) fn stamp(bytes: &mut [u8], at_ms: u64) {
    bytes[TIME..CHAIN].copy_from_slice(&at_ms.to_le_bytes());
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    let length = u32::try_from(text.len()).expect("a record's bound is far below 4 GiB");
    bytes.extend(length.to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// A record in the file, read as far as asked.
#[derive(Clone, Copy)]
pub(super) struct View<'a>(&'a [u8]);

impl<'a> View<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The lane byte says a lane's number or none.
    pub(super) fn lane(self) -> Option<Lane> {
        self.0.get(LANE).copied().and_then(Lane::new)
    }

    pub(super) fn at_ms(self) -> u64 {
        self.0
            .get(TIME..CHAIN)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_le_bytes)
    }

    pub(super) fn subject(self) -> Option<&'a str> {
        let mut fields = Fields(self.0.get(FIELDS + 1..)?);
        fields.text()
    }

    /// The part of the subject that names whose chain it is.
    pub(super) fn chain(self) -> Option<&'a str> {
        let length = self.0.get(CHAIN..FIELDS)?.try_into().ok().map(u16::from_le_bytes)?;
        self.subject()?.get(..usize::from(length))
    }

    /// All of it; `None` of bytes that [`encode`] did not write.
    pub(super) fn read(self, number: u64) -> Option<Stored> {
        let flags = *self.0.get(FIELDS)?;
        let mut fields = Fields(&self.0[FIELDS + 1..]);
        let mut headers = Headers::default();
        let subject = fields.text()?.to_owned();
        if flags & has::SESSION != 0 {
            headers.session = Some(fields.text()?.into());
        }
        if flags & has::SEQ != 0 {
            headers.seq = Some(fields.number()?);
        }
        if flags & has::OWNER != 0 {
            headers.owner = Some(fields.text()?.into());
        }
        if flags & has::EVENT != 0 {
            let (id, app) = (fields.text()?.into(), fields.text()?.into());
            let kind = fields.text()?.parse().unwrap_or(EventKind::Unknown);
            headers.event = Some(EventHeaders { id, app, kind });
        }
        if flags & has::TRACE != 0 {
            headers.trace_parent = Some(fields.text()?.into());
        }
        let payload = fields.0.to_vec().into();
        let record = Record { subject, headers, payload };
        Some(Stored { number, at_ms: self.at_ms(), record })
    }
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.take(4)?.try_into().ok().map(u32::from_le_bytes)?;
        std::str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_headers()(
            session: Option<String>,
            seq: Option<u64>,
            owner: Option<String>,
            event: Option<(String, String)>,
            trace: Option<String>,
        ) -> Headers {
            Headers {
                session: session.map(Into::into),
                seq,
                owner: owner.map(Into::into),
                event: event.map(|(id, app)| EventHeaders {
                    id: id.into(),
                    app: app.into(),
                    kind: EventKind::FriendAdd,
                }),
                trace_parent: trace.map(Into::into),
            }
        }
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was(
            subject: String,
            headers in any_headers(),
            payload: Vec<u8>,
            number: u64,
            at_ms: u64,
            lane in prop::option::of(0..Lane::COUNT),
        ) {
            let record = Record { subject, headers, payload: payload.into() };
            let filing = Filing { lane: lane.and_then(Lane::new), chain: 0 };
            let mut bytes = encode(filing, &record);
            stamp(&mut bytes, at_ms);
            let view = View::new(&bytes);
            prop_assert_eq!(view.lane(), filing.lane);
            prop_assert_eq!(view.subject(), Some(record.subject.as_str()));
            prop_assert_eq!(view.read(number), Some(Stored { number, at_ms, record }));
        }

        /// A damaged file gives no answer, never a panic.
        #[test]
        fn any_bytes_are_looked_at_without_a_panic(bytes: Vec<u8>) {
            let view = View::new(&bytes);
            let _ = (view.lane(), view.at_ms(), view.subject(), view.chain(), view.read(1));
        }
    }

    #[test]
    fn a_record_is_filed_by_its_subject() {
        let check = |subject: &str, expected: Option<(Option<u8>, &str)>| {
            let filing = Filing::of_event(Partition::Chain(2), subject);
            let filing =
                filing.map(|f| (f.lane.map(Lane::number), &subject[..usize::from(f.chain)]));
            assert_eq!(filing, expected, "{subject}");
        };
        check(
            "qq.v1.ev.02.102.4-0.e.7.group.A1.message_create",
            Some((Some(7), "qq.v1.ev.02.102.4-0")),
        );
        check("qq.v1.ev.02.102.4-0.ses", Some((None, "qq.v1.ev.02.102.4-0")));
        check("qq.v1.ev.02.own", Some((None, "qq.v1.ev.02.own")));
        check("qq.v1.ev.03.own", None);
        check("qq.v1.ev.02.102", None);
        check("qq.v1.res.102.group.A1.x", None);
    }
}
