//! Echo through the whole process, in each scene: what is said is answered once.

use qqrelay_proto::id::Scene;
use qqrelay_simulator::control::Arming;
use qqrelay_simulator::faults::{Aim, Armed};
use qqrelay_simulator::rest::Fault;
use qqrelay_simulator::{Action, Injection};
use qqrelay_tests::cluster::{Bot, Cluster, Setup};
use qqrelay_tests::invariants::{Answers, Expected};
use serde_json::json;

const APP: &str = "102000001";

const SCENES: [Scene; 4] = [Scene::C2c, Scene::Group, Scene::Channel, Scene::Dm];

async fn cluster() -> Cluster {
    let setup = Setup {
        bots: vec![Bot::new(APP, 1)],
        expected: Expected { identifies: Some(1), answers: Answers::Echo, ..Expected::default() },
        ..Setup::default()
    };
    Cluster::up(setup).await.expect("a relay")
}

fn say(cluster: &Cluster, scene: Scene, place: usize, text: &str) {
    let (user, group) = (format!("user-{place}"), format!("group-{place}"));
    let (guild, channel) = ((place + 1).to_string(), (1_000 + place).to_string());
    let event = match scene {
        Scene::C2c => Injection::c2c(&user, text),
        Scene::Group => Injection::group_at(&group, &user, text),
        Scene::Channel => Injection::at(&guild, &channel, &user, text),
        _ => Injection::direct(&guild, &user, text),
    };
    let pushed = cluster.platform.inject(APP, &event).expect("the bot exists");
    assert_eq!(pushed.placed.len(), 1, "{event:?} reaches the bot");
}

/// The texts that people saw in answer.
fn answers(cluster: &Cluster) -> Vec<String> {
    cluster.platform.journal().shown().into_iter().map(|sent| sent.content).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_each_scene_is_echoed_there_once() {
    let cluster = cluster().await;
    let mut said = Vec::new();
    for (number, scene) in SCENES.into_iter().cycle().take(40).enumerate() {
        let text = format!("hello {number}");
        say(&cluster, scene, number / 4, &text);
        said.push(text);
    }
    cluster.settle().await.expect("all of it is stored");
    cluster.answered().await.expect("all of it is answered");
    let mut answers = answers(&cluster);
    answers.sort();
    said.sort();
    assert_eq!(answers, said);
    let tally = cluster.finish().await.expect("a run that kept its promises").tally;
    assert_eq!((tally.replies, tally.ambiguous), (40, 0));
}

/// A connection that ends before any answer, whether or not the message was taken.
fn unanswered(effect: &str) -> Fault {
    let fault = json!({"kind": "reset_before_headers", "effect": effect});
    serde_json::from_value(fault).expect("a fault of the platform's")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_platforms_that_goes_wrong_shows_nothing_twice() {
    let troubles = [
        Trouble::Answer(Fault::EmptyBody),
        Trouble::Answer(Fault::HtmlBody),
        Trouble::Answer(Fault::HugeBody { bytes: 64 << 20 }),
        Trouble::Answer(Fault::ResetMidBody),
        Trouble::Answer(unanswered("applied")),
        Trouble::Answer(unanswered("not_applied")),
        Trouble::Answer(Fault::RateLimited { retry_after: Some("1".to_owned()) }),
        Trouble::TokenExpires,
    ];
    let cluster = cluster().await;
    for (number, trouble) in troubles.iter().enumerate() {
        for scene in SCENES {
            make(&cluster, trouble, scene);
            say(&cluster, scene, number, &format!("{trouble:?}"));
        }
        cluster.settle().await.expect("all of it is stored");
        cluster.answered().await.expect("all of it has its outcome");
    }
    let report = cluster.finish().await.expect("a run that kept its promises");
    let (said, tally) = (troubles.len() * SCENES.len(), report.tally);
    // Two of the troubles hide in two of the scenes whether the message was taken.
    assert!(tally.replies < said && said <= tally.replies + tally.ambiguous, "{tally:?}");
}

/// Something that befalls a reply.
#[derive(Debug)]
enum Trouble {
    Answer(Fault),
    TokenExpires,
}

fn make(cluster: &Cluster, trouble: &Trouble, scene: Scene) {
    let action = match trouble {
        Trouble::TokenExpires => Action::ExpireTokens { app: APP.into() },
        Trouble::Answer(fault) => {
            let path = Some("messages".to_owned());
            let aim = Aim { path, scene: Some(scene), ..Aim::default() };
            Action::Arm(Arming::Rest(Armed::next(1, fault.clone()).aimed(aim)))
        }
    };
    cluster.platform.perform(&action).expect("the platform knows how");
}
