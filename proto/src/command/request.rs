//! The HTTP request that a command becomes.

use std::fmt::Write;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Action, Command, Content, Image, Keyboard, Markdown, Media, MsgSeq, Object, Parameter, ReplyTo,
};
use crate::id::Scene;

/// A call of the platform's REST API, short of host and credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The HTTP method.
    pub method: Method,
    /// Which call it is.
    pub route: Route,
    /// The path with its ids percent-encoded, from the first slash.
    pub path: String,
    /// JSON.
    pub body: Bytes,
}

/// The HTTP methods that commands use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Not repeatable unless the body says which message it is.
    Post,
    /// Repeatable.
    Put,
}

impl Method {
    /// As HTTP writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

/// The calls that commands become; a closed set for metrics and limits.
///
/// Source: PLATFORM.md, "routes".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Route {
    /// Send to a user.
    UserMessages,
    /// Send to a group.
    GroupMessages,
    /// Send to a guild channel.
    ChannelMessages,
    /// Send to a guild-side private conversation.
    DmMessages,
    /// Acknowledge an interaction.
    Interactions,
}

impl Route {
    /// Every route, in declaration order.
    pub const ALL: [Self; 5] = [
        Self::UserMessages,
        Self::GroupMessages,
        Self::ChannelMessages,
        Self::DmMessages,
        Self::Interactions,
    ];

    /// The path with a name in place of the id: a metric label.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::UserMessages => "/v2/users/{user_openid}/messages",
            Self::GroupMessages => "/v2/groups/{group_openid}/messages",
            Self::ChannelMessages => "/channels/{channel_id}/messages",
            Self::DmMessages => "/dms/{guild_id}/messages",
            Self::Interactions => "/interactions/{interaction_id}",
        }
    }

    const fn method(self) -> Method {
        match self {
            Self::UserMessages | Self::GroupMessages | Self::ChannelMessages | Self::DmMessages => {
                Method::Post
            }
            Self::Interactions => Method::Put,
        }
    }

    fn with(self, id: &str, body: &impl Serialize) -> Request {
        let body = serde_json::to_vec(body).expect("text, numbers and JSON values serialise");
        let path = fill(self.template(), id);
        Request { method: self.method(), route: self, path, body: body.into() }
    }
}

impl Command {
    /// The call it becomes, with the number that the ledger granted; `None` where the scene takes
    /// no such action, which [`Command::check`] refuses.
    #[must_use]
    pub fn request(&self, msg_seq: MsgSeq) -> Option<Request> {
        let (content, quote) = match &self.action {
            Action::Send { content, quote } => (content, quote.as_deref()),
            Action::Acknowledge { interaction, code } => {
                return Some(Route::Interactions.with(interaction, &json!({ "code": code })));
            }
        };
        let route = match self.scene {
            Scene::C2c => Route::UserMessages,
            Scene::Group => Route::GroupMessages,
            Scene::Channel => Route::ChannelMessages,
            Scene::Dm => Route::DmMessages,
            Scene::Guild | Scene::App => return None,
        };
        Some(route.with(&self.scope, &Body::of(self, content, quote, msg_seq)))
    }
}

/// A message as the platform has it. Guild scenes have neither `msg_type` nor `msg_seq`.
#[derive(Default, Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_type: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    markdown: Option<MarkdownBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyboard: Option<&'a Keyboard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ark: Option<&'a Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embed: Option<&'a Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_reference: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg_seq: Option<MsgSeq>,
}

#[derive(Serialize)]
struct MarkdownBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_template_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    params: &'a [Parameter],
}

impl<'a> Body<'a> {
    fn of(
        command: &'a Command,
        content: &'a Content,
        quote: Option<&'a str>,
        msg_seq: MsgSeq,
    ) -> Self {
        let mut body = Self::content(content);
        let numbered = matches!(command.scene, Scene::Group | Scene::C2c);
        if numbered {
            body.msg_type = Some(msg_type(content));
        }
        body.message_reference = quote.map(|id| json!({ "message_id": id }));
        match command.reply.as_ref().map(|reply| &reply.to) {
            Some(ReplyTo::MsgId(id)) => body.msg_id = Some(id.as_str()),
            Some(ReplyTo::EventId(id)) => body.event_id = Some(id),
            None => return body,
        }
        body.msg_seq = numbered.then_some(msg_seq);
        body
    }

    fn content(content: &'a Content) -> Self {
        let body = Self::default();
        match content {
            Content::Text(text) => Self { content: Some(text), ..body },
            Content::Markdown(Markdown { content, template, keyboard }) => {
                let markdown = MarkdownBody {
                    content: content.as_deref(),
                    custom_template_id: template.as_ref().map(|template| &*template.id),
                    params: template.as_ref().map_or(&[], |template| &template.params),
                };
                Self { markdown: Some(markdown), keyboard: keyboard.as_ref(), ..body }
            }
            Content::Ark(ark) => Self { ark: Some(ark), ..body },
            Content::Embed(embed) => Self { embed: Some(embed), ..body },
            Content::Image(Image { url, text }) => {
                Self { image: Some(url), content: text.as_deref(), ..body }
            }
            Content::Media(Media { file_info, text }) => Self {
                media: Some(json!({ "file_info": file_info })),
                content: Some(text.as_deref().unwrap_or(NO_TEXT)),
                ..body
            },
        }
    }
}

/// The text of a media message that has none: an empty one was refused.
///
/// Source: PLATFORM.md, "media messages".
const NO_TEXT: &str = " ";

/// What groups and single chats call the kinds of content.
///
/// Source: PLATFORM.md, "msg_type".
const fn msg_type(content: &Content) -> u8 {
    match content {
        Content::Text(_) | Content::Image(_) => 0,
        Content::Markdown(_) => 2,
        Content::Ark(_) => 3,
        Content::Embed(_) => 4,
        Content::Media(_) => 7,
    }
}

/// Puts an id, percent-encoded, where the template's braces are.
fn fill(template: &str, id: &str) -> String {
    let (before, rest) = template.split_once('{').expect("every template has one name in braces");
    let (_, after) = rest.split_once('}').expect("every template closes its braces");
    let mut path = String::with_capacity(template.len() + id.len());
    path.push_str(before);
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}"); // writing to a String cannot fail
        }
    }
    path.push_str(after);
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Buttons, CommandId, Row, TEXT_CHARS_MAX, Template};
    use crate::id::Scope;
    use proptest::prelude::*;

    fn command(scene: Scene, scope: &str, content: Content) -> Command {
        Command::send("c1".into(), "102".into(), Scope::new(scene, scope), content)
    }

    fn body(command: &Command) -> Value {
        let request = command.request(CommandId::from("a").msg_seq()).expect("the scene sends");
        serde_json::from_slice(&request.body).expect("a body is JSON")
    }

    fn text() -> Content {
        Content::Text("pong".into())
    }

    fn in_reply(mut command: Command) -> Command {
        command.reply = Some(ReplyTo::MsgId("m!1".into()).into());
        command
    }

    #[test]
    fn each_scene_has_its_route() {
        let check = |scene, expected: &str| {
            let request = command(scene, "a/b?群", text()).request(CommandId::from("a").msg_seq());
            assert_eq!(request.map(|request| request.path).as_deref(), Some(expected));
        };
        check(Scene::C2c, "/v2/users/a%2Fb%3F%E7%BE%A4/messages");
        check(Scene::Group, "/v2/groups/a%2Fb%3F%E7%BE%A4/messages");
        check(Scene::Channel, "/channels/a%2Fb%3F%E7%BE%A4/messages");
        check(Scene::Dm, "/dms/a%2Fb%3F%E7%BE%A4/messages");
        assert_eq!(
            command(Scene::App, "102", text()).request(CommandId::from("a").msg_seq()),
            None
        );
    }

    #[test]
    fn a_reply_is_numbered_where_numbers_are_known() {
        let reply = |scene| body(&in_reply(command(scene, "A", text())));
        let numbered = json!({"msg_type":0,"content":"pong","msg_id":"m!1","msg_seq":3386});
        assert_eq!(reply(Scene::Group), numbered);
        assert_eq!(reply(Scene::C2c), numbered);
        assert_eq!(reply(Scene::Channel), json!({"content":"pong","msg_id":"m!1"}));
        assert_eq!(reply(Scene::Dm), json!({"content":"pong","msg_id":"m!1"}));
        assert_eq!(
            body(&command(Scene::Group, "A", text())),
            json!({"msg_type":0,"content":"pong"})
        );
    }

    #[test]
    fn an_event_is_answered_by_its_id_and_a_message_quoted_by_its_own() {
        let mut event = command(Scene::C2c, "U", text());
        event.reply = Some(ReplyTo::EventId("INTERACTION_CREATE:1".into()).into());
        event.action = Action::Send { content: text(), quote: Some("REFIDX_1".into()) };
        let expected = json!({"msg_type":0,"content":"pong","event_id":"INTERACTION_CREATE:1",
            "msg_seq":3386,"message_reference":{"message_id":"REFIDX_1"}});
        assert_eq!(body(&event), expected);
    }

    #[test]
    fn every_kind_of_content_has_its_form() {
        let button = json!({"id":"1","render_data":{"label":"Again"},"future":true});
        let Value::Object(button) = button else { panic!("an object") };
        let rows = vec![Row { buttons: vec![button.clone()] }];
        let keyboard = Keyboard { id: None, content: Some(Buttons { rows, ..Buttons::default() }) };
        let native = Markdown {
            content: Some("**pong**".into()),
            keyboard: Some(keyboard),
            ..Markdown::default()
        };
        let params = vec![Parameter { key: "title".into(), values: vec!["x".into()] }];
        let template = Markdown {
            template: Some(Template { id: "t1".into(), params }),
            ..Markdown::default()
        };
        let check = |scene, content, expected: Value| {
            assert_eq!(body(&command(scene, "A", content)), expected);
        };
        let native_body = json!({"markdown":{"content":"**pong**"},
            "keyboard":{"content":{"rows":[{"buttons":[button]}]}}});
        check(Scene::Channel, Content::Markdown(native), native_body);
        check(
            Scene::Group,
            Content::Markdown(template),
            json!({"msg_type":2,"markdown":{"custom_template_id":"t1",
                "params":[{"key":"title","values":["x"]}]}}),
        );
        let media = Media { file_info: "f".into(), text: None };
        check(
            Scene::C2c,
            Content::Media(media),
            json!({"msg_type":7,"content":" ","media":{"file_info":"f"}}),
        );
        let image = Image { url: "https://example.com/a.png".into(), text: Some("look".into()) };
        check(
            Scene::Dm,
            Content::Image(image),
            json!({"content":"look","image":"https://example.com/a.png"}),
        );
        let object = |json: Value| json.as_object().expect("an object").clone();
        let ark = json!({"template_id":23,"kv":[]});
        check(Scene::Group, Content::Ark(object(ark.clone())), json!({"msg_type":3,"ark":ark}));
        let embed = json!({"title":"t"});
        check(Scene::Channel, Content::Embed(object(embed.clone())), json!({"embed":embed}));
    }

    #[test]
    fn a_button_press_is_acknowledged_by_its_id() {
        let mut command = command(Scene::Group, "A", text());
        command.action = Action::Acknowledge { interaction: "i=1".into(), code: 0 };
        let request = command.request(CommandId::from("a").msg_seq()).expect("any scene will do");
        assert_eq!(request.method.as_str(), "PUT");
        assert_eq!(request.path, "/interactions/i%3D1");
        assert_eq!(&request.body[..], br#"{"code":0}"#);
    }

    proptest! {
        /// Whatever an id holds, it stays one part of the path.
        #[test]
        fn no_id_leaves_its_place_in_the_path(scope in r"\.{1,3}|\PC{1,40}") {
            let command = command(Scene::Group, &scope, text());
            prop_assume!(command.check(TEXT_CHARS_MAX).is_ok());
            let path = command.request(CommandId::from("a").msg_seq()).expect("it sends").path;
            prop_assert_eq!(path.split('/').count(), 5);
            prop_assert!(!path.contains(['?', '#', '\\', ' ']) && path.is_ascii());
            let steps_up = |part: &str| part == "." || part == "..";
            prop_assert!(!path.split('/').any(steps_up));
        }
    }
}
