//! What happens in audio, video and live channels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::place::Ids;
use super::{Event, Facts, Text};
use crate::lenient::{Raw, members};

/// Something played, a microphone taken, somebody who came or went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Audio<'a> {
    /// What is played.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Text<'a>>,
    /// What is shown beside it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text<'a>>,
    /// Who came or went.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Text<'a>>,
    /// The platform's number: 2 audio and video, 5 live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_type: Option<i64>,
}

members!(Members { audio_url, text, user_id, channel_type });

/// Reads AUDIO_ and AUDIO_OR_LIVE_CHANNEL_MEMBER_ types.
pub(super) fn read<'a>(event: &mut Event<'a>, d: Raw<'a>) -> Facts<'a> {
    let read = Members::read(d);
    event.audio = Some(Box::new(Audio {
        url: Text::read(read.audio_url),
        text: Text::read(read.text),
        user: Text::read(read.user_id),
        channel_type: read.channel_type.whole(),
    }));
    Facts { ids: Ids::read(d), own_id: None, time: None }
}
