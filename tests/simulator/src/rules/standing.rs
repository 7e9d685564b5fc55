//! How a bot stands with a user or a group: what they did to it decides what it may send.

use qqrelay_proto::id::{Scene, Scope};
use serde::{Deserialize, Serialize};

use super::Refusal;

/// How a bot stands with one user or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing is in the way.
    #[default]
    Open,
    /// Proactive messages were switched off.
    RefusesPush,
    /// No friend any more, or thrown out of the group.
    Gone,
    /// Muted in the group.
    Muted,
}

/// Who speaks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiative {
    /// The bot answers.
    Reply,
    /// The bot begins.
    Push,
}

impl Standing {
    /// How the bot stands after an event of this type; none where it changes nothing.
    #[must_use]
    pub fn after(t: &str) -> Option<Self> {
        match t {
            "C2C_MSG_REJECT" | "GROUP_MSG_REJECT" => Some(Self::RefusesPush),
            "C2C_MSG_RECEIVE" | "GROUP_MSG_RECEIVE" | "FRIEND_ADD" | "GROUP_ADD_ROBOT" => {
                Some(Self::Open)
            }
            "FRIEND_DEL" | "GROUP_DEL_ROBOT" => Some(Self::Gone),
            _ => None,
        }
    }

    /// Why a message may not be sent.
    ///
    /// # Errors
    /// The refusal that the scene words it with.
    pub fn check(self, scope: &Scope, initiative: Initiative) -> Result<(), Refusal> {
        match (self, scope.scene, initiative) {
            (Self::Open, _, _) | (Self::RefusesPush, _, Initiative::Reply) => Ok(()),
            (Self::RefusesPush, Scene::C2c, Initiative::Push) => Err(Refusal::UserRefuses),
            (Self::RefusesPush, _, Initiative::Push) => Err(Refusal::ProactiveRefused),
            (Self::Gone, Scene::C2c, _) => Err(Refusal::NotFriend),
            (Self::Gone, _, _) => Err(Refusal::NotInGroup),
            (Self::Muted, _, _) => Err(Refusal::Muted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_did_to_the_bot_decides_what_it_may_send() {
        let check = |t, scene, reply: Result<(), Refusal>, push: Result<(), Refusal>| {
            let standing = Standing::after(t).unwrap();
            let scope = Scope::new(scene, "x");
            assert_eq!(standing.check(&scope, Initiative::Reply), reply, "{t}");
            assert_eq!(standing.check(&scope, Initiative::Push), push, "{t}");
        };
        let refused = Err(Refusal::ProactiveRefused);
        check("C2C_MSG_REJECT", Scene::C2c, Ok(()), Err(Refusal::UserRefuses));
        check("C2C_MSG_RECEIVE", Scene::C2c, Ok(()), Ok(()));
        check("GROUP_MSG_REJECT", Scene::Group, Ok(()), refused);
        check("GROUP_MSG_RECEIVE", Scene::Group, Ok(()), Ok(()));
        check("FRIEND_DEL", Scene::C2c, Err(Refusal::NotFriend), Err(Refusal::NotFriend));
        check("GROUP_DEL_ROBOT", Scene::Group, Err(Refusal::NotInGroup), Err(Refusal::NotInGroup));
        check("GROUP_ADD_ROBOT", Scene::Group, Ok(()), Ok(()));
        assert_eq!(Standing::after("GROUP_AT_MESSAGE_CREATE"), None);
    }
}
