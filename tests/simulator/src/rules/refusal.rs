//! What the platform answers when it does not do what it was asked.
//!
//! These are the platform's own numbers, written down here a second time on purpose: a simulator
//! that shared the relay's table could not catch the relay's mistakes.
//!
//! Source: PLATFORM.md, "error codes".

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $code:literal, $message:literal;)*) => {
        /// One way of saying no: an HTTP status, a code, a sentence.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[$doc])* $name,)*
        }

        impl Refusal {
            /// Every refusal, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The HTTP status it comes with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// The number in the body's `code` and `err_code`.
            #[must_use]
            pub const fn code(self) -> u32 {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The sentence in the body; the platform changes it at will, so nothing may rest on it.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$name => $message,)*
                }
            }
        }
    };
}

refusals! {
    /// The body is no JSON object.
    BadBody = 400, 12002, "invalid request body";
    /// A member has the wrong type or an impossible value.
    BadForm = 400, 50035, "invalid form data";
    /// There is no such call.
    NoSuchApi = 404, 404, "no such api";
    /// The path is a call, the method is not.
    BadMethod = 405, 405, "method not allowed";
    /// The bot may not use this call: private-domain bots only.
    NoPrivilege = 400, 11253, "check app privilege not pass";
    /// No such channel.
    UnknownChannel = 400, 10003, "频道不存在";
    /// No such guild.
    UnknownGuild = 400, 10004, "guild not exist";
    /// No such message.
    UnknownMessage = 400, 50039, "message not found";

    /// Too many messages into one channel.
    ChannelRate = 429, 20028, "channel message rate limit";
    /// Too many messages, or too many calls of one kind.
    SendRate = 429, 22009, "msg limit exceed";
    /// Too many chunks of streamed messages.
    StreamRate = 429, 50002, "stream rate limit";
    /// The start of a streamed text is not what was shown before.
    StreamPrefix = 400, 40007, "stream content prefix mismatch";

    /// The members do not fit the kind of message.
    WrongMembers = 400, 22006, "msg_type does not match content";
    /// No such kind of message, or not here.
    BadMessageType = 400, 340069, "invalid msg_type";
    /// Nothing to show.
    Empty = 400, 50006, "消息为空";
    /// Something beside markdown and keyboard in a markdown message, or a keyboard without one.
    MarkdownOnly = 400, 50037, "markdown message only allows markdown and keyboard";
    /// Markdown with neither content nor template.
    BadMarkdown = 400, 50055, "markdown content invalid";
    /// Markdown with both.
    ContentAndTemplate = 400, 50057, "markdown content and template together";
    /// A typing notice with a length that is none.
    BadInputNotify = 400, 50059, "input_notify invalid";
    /// A keyboard with neither id nor rows.
    NoKeyboard = 400, 304038, "keyboard missing";
    /// More than five rows, or five buttons in one.
    KeyboardTooLarge = 400, 40034029, "keyboard exceeds 5 rows or 5 buttons";
    /// The text is too long.
    TooLong = 400, 40054007, "消息过长";
    /// The uploaded file is unknown here, or no longer.
    BadFileInfo = 400, 304080, "file_info invalid";
    /// No such kind of file, or no file.
    BadUpload = 400, 10000, "unsupported upload";
    /// The file is not what its kind says.
    BadFormat = 400, 850019, "file format not supported";
    /// The file is too large.
    FileTooLarge = 400, 850031, "file too large";

    /// The message to reply to is too old.
    ReplyExpired = 400, 40034005, "回复消息msg_id已过期";
    /// The message to reply to is not one that this bot was sent in this place.
    UnknownReply = 400, 40034024, "msg_id invalid";
    /// The event to reply to is not one that this bot was sent in this place.
    UnknownEvent = 400, 40034025, "event_id invalid";
    /// The event to reply to is too old.
    EventExpired = 400, 40034026, "event_id expired";
    /// Nobody may reply to this type of event.
    EventNotRepliable = 400, 40034027, "event type not repliable";
    /// All replies to it are used up.
    RepliesUsedUp = 400, 40034128, "passive reply count used up";
    /// This `msg_seq` was taken for this message before.
    Duplicate = 400, 40054005, "消息被去重，请检查请求msgseq";
    /// Guild side: the message to reply to is unknown.
    GuildUnknownReply = 400, 304026, "reply msg id invalid";
    /// Guild side: the message to reply to is too old.
    GuildReplyExpired = 400, 304027, "reply msg expired";

    /// The bot has no gateway session.
    NotConnected = 400, 304018, "bot is not connected to gateway";
    /// Too many proactive messages.
    ProactiveRate = 400, 40034100, "proactive message limit";
    /// The bot may not write first.
    ProactiveRefused = 400, 40034105, "主动消息失败, 无权限";
    /// The wake-up of this window was sent.
    WakeupUsed = 400, 40034122, "wakeup used up";
    /// There is nothing to wake up from.
    WakeupRefused = 400, 40034123, "wakeup not supported";
    /// Proactive messages of this channel are used up for today.
    ChannelPushUsed = 400, 304045, "channel push limit";
    /// Proactive messages went into as many channels of the guild as may be, today.
    ChannelPushCount = 400, 304047, "push channel count limit";
    /// Proactive messages to this user are used up for today.
    DmPushUser = 400, 304049, "direct message push limit of user";
    /// The bot's proactive direct messages are used up for today.
    DmPushTotal = 400, 304050, "direct message push limit";
    /// No such direct message session.
    NoDm = 400, 304032, "direct message session missing";
    /// The bot is muted in the group.
    Muted = 400, 40054002, "bot muted";
    /// The bot is not in the group.
    NotInGroup = 400, 40054003, "bot not in group";
    /// The user is no friend of the bot.
    NotFriend = 400, 40054004, "not friend";
    /// The user switched proactive messages off.
    UserRefuses = 400, 40054013, "用户拒收主动消息";

    /// A proactive message waits for human review.
    PushAudit = 202, 304023, "push message is waiting for audit now";
    /// A reply waits for human review.
    ReplyAudit = 202, 304024, "reply message is waiting for audit now";

    /// Too late to recall, in v2.
    RecallLate = 400, 40064004, "撤回超时";
    /// Too late to recall, in a guild.
    GuildRecallLate = 400, 306011, "recall timeout";
    /// No such message to recall.
    RecallUnknown = 400, 306002, "message id invalid";
    /// The message to recall is another bot's or another place's.
    RecallElsewhere = 400, 306008, "not a message of this bot";

    /// The interaction was answered before, or never was.
    InteractionParameter = 400, 630001, "interaction parameter invalid";
    /// The interaction belongs to another bot.
    InteractionElsewhere = 400, 630003, "interaction belongs to another bot";
    /// The reaction stands already.
    ReactionSet = 400, 620003, "reaction already set";
    /// There is no such reaction.
    ReactionNotSet = 400, 620004, "reaction not set";
    /// No such emoji, or no such kind of one.
    ReactionParameter = 400, 620001, "reaction parameter invalid";
    /// The channel has as many pins as it may.
    PinsFull = 400, 501013, "pins full";
    /// No such message to pin or to unpin.
    PinUnknown = 400, 501005, "message id invalid";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_refusal_has_a_number_of_its_own() {
        let codes: HashSet<_> = Refusal::ALL.iter().map(|refusal| refusal.code()).collect();
        assert_eq!(codes.len(), Refusal::ALL.len());
    }

    #[test]
    fn only_an_audit_is_answered_with_a_status_of_success() {
        for refusal in Refusal::ALL {
            let audit = matches!(refusal, Refusal::PushAudit | Refusal::ReplyAudit);
            assert_eq!(refusal.status() < 300, audit, "{refusal:?}");
        }
    }
}
