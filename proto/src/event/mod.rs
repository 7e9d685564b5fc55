//! Events in one shape for all scenes.

mod kind;

pub use self::kind::EventKind;
