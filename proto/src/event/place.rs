//! Where an event happened: the scope that its order holds in.

use super::Text;
use super::rule::Home;
use crate::id::Scene;
use crate::lenient::Raw;

/// The ids that an event may name a place by.
#[derive(Debug, Clone, Default)]
pub(super) struct Ids<'a> {
    pub(super) guild: Option<Text<'a>>,
    pub(super) channel: Option<Text<'a>>,
    pub(super) group: Option<Text<'a>>,
    pub(super) user: Option<Text<'a>>,
    /// The scene that the event says it is in.
    pub(super) spoken: Option<Scene>,
}

crate::lenient::members!(Members {
    guild_id,
    channel_id,
    group_openid,
    group_id,
    user_openid,
    openid,
    chat_type,
    scene,
});

impl<'a> Ids<'a> {
    /// Reads the members that name places in every event, known to us or not.
    pub(super) fn read(d: Raw<'a>) -> Self {
        let read = Members::read(d);
        Self {
            guild: Text::read(read.guild_id),
            channel: Text::read(read.channel_id),
            group: Text::read(read.group_openid).or_else(|| Text::read(read.group_id)),
            user: Text::read(read.user_openid).or_else(|| Text::read(read.openid)),
            spoken: spoken(read.chat_type, read.scene),
        }
    }

    /// The scene and the id of the place, where it has one.
    ///
    /// An event that lacks the id its type should have goes where the rest of its ids say.
    pub(super) fn place(&self, home: Home) -> Option<(Scene, Text<'a>)> {
        let wanted = match home {
            Home::In(scene) => self.in_scene(scene),
            Home::Spoken => self.spoken.and_then(|scene| self.in_scene(scene)),
            Home::GroupOrUser | Home::Unknown => None,
        };
        wanted.or_else(|| {
            let order = [Scene::Group, Scene::C2c, Scene::Channel, Scene::Guild];
            order.into_iter().find_map(|scene| self.in_scene(scene))
        })
    }

    fn in_scene(&self, scene: Scene) -> Option<(Scene, Text<'a>)> {
        let id = match scene {
            Scene::Guild | Scene::Dm => &self.guild,
            Scene::Channel => &self.channel,
            Scene::Group => &self.group,
            Scene::C2c => &self.user,
            Scene::App => &None,
        };
        id.clone().map(|id| (scene, id))
    }
}

/// Source: PLATFORM.md, "interactions": either member may be missing.
fn spoken(chat_type: Raw<'_>, scene: Raw<'_>) -> Option<Scene> {
    let by_number = match chat_type.whole() {
        Some(0) => Some(Scene::Channel),
        Some(1) => Some(Scene::Group),
        Some(2) => Some(Scene::C2c),
        _ => None,
    };
    by_number.or_else(|| match scene.text()?.as_ref() {
        "guild" => Some(Scene::Channel),
        "group" => Some(Scene::Group),
        "c2c" => Some(Scene::C2c),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(json: &'static str) -> Ids<'static> {
        let raw: &serde_json::value::RawValue = serde_json::from_str(json).expect("JSON");
        Ids::read(raw.into())
    }

    #[test]
    fn an_event_of_unknown_type_goes_to_the_narrowest_place_it_names() {
        let check = |json, expected: Option<(Scene, &str)>| {
            let place = ids(json).place(Home::Unknown);
            let place = place.as_ref().map(|(scene, id)| (*scene, id.as_str()));
            assert_eq!(place, expected, "{json}");
        };
        let all = r#"{"guild_id":"1","channel_id":"2","openid":"3","group_openid":"4"}"#;
        check(all, Some((Scene::Group, "4")));
        let user = r#"{"guild_id":"1","channel_id":"2","openid":"3","user_openid":"5"}"#;
        check(user, Some((Scene::C2c, "5")));
        check(r#"{"guild_id":"1","channel_id":2,"openid":""}"#, Some((Scene::Channel, "2")));
        check(r#"{"guild_id":46646271634786417}"#, Some((Scene::Guild, "46646271634786417")));
        check(r#"{"guild_id":{"id":"1"}}"#, None);
        check("[]", None);
    }

    #[test]
    fn an_event_without_its_own_place_goes_where_its_other_ids_say() {
        let guild_only = ids(r#"{"guild_id":"1"}"#);
        let place = guild_only.place(Home::In(Scene::Channel));
        assert_eq!(place, Some((Scene::Guild, "1".into())));
        let place = guild_only.place(Home::In(Scene::Dm));
        assert_eq!(place, Some((Scene::Dm, "1".into())));
    }

    #[test]
    fn an_interaction_says_where_it_is() {
        let check = |json, expected| {
            let place = ids(json).place(Home::Spoken);
            assert_eq!(place.map(|(scene, _)| scene), Some(expected), "{json}");
        };
        check(r#"{"chat_type":0,"channel_id":"2","guild_id":"1"}"#, Scene::Channel);
        check(r#"{"chat_type":1,"group_openid":"4"}"#, Scene::Group);
        check(r#"{"scene":"c2c","user_openid":"5"}"#, Scene::C2c);
        check(r#"{"user_openid":"5"}"#, Scene::C2c);
        check(r#"{"chat_type":0,"scene":"c2c","user_openid":"5"}"#, Scene::C2c);
    }
}
