//! A script that runs by itself.

use std::collections::BTreeMap;

use qqrelay_simulator::scenario::Scenario;
use serde_json::Value;

use crate::bot::{Bot, End, platform};

#[tokio::test]
async fn a_scenario_begins_with_the_sessions_and_runs_to_its_end() {
    let scenario: Scenario = r#"
        seed = 3
        sessions = 1
        lasts = "300ms"
        [traffic]
        app = "102000001"
        events_per_second = 500.0
        again = 0.2
        [[at]]
        after = "250ms"
        action = { close = { code = 4009 } }
    "#
    .parse()
    .unwrap();
    let simulator = platform(|config| config.scenario = Some(scenario)).await;
    let (mut socket, _) = Bot::new(&simulator).await.ready().await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let end = loop {
        match socket.next_or_end().await {
            Ok(frame) => *seen.entry(frame["id"].as_str().unwrap().to_owned()).or_default() += 1,
            Err(end) => break end,
        }
    };
    assert_eq!(end, End::Code(4009));
    simulator.scenario_ended().await;
    // 149 events, of which about a fifth came twice.
    assert!(seen.len() > 100, "{}", seen.len());
    let twice = seen.values().filter(|count| **count == 2).count();
    assert!((10..60).contains(&twice), "{twice}");
    let entries = simulator.journal().all();
    let actions: Vec<Value> = entries
        .iter()
        .filter(|line| line.entry.label() == "action")
        .map(|line| serde_json::to_value(line).unwrap())
        .collect();
    assert_eq!((actions.len(), &actions[0]["action"]["close"]["code"]), (1, &Value::from(4009)));
}
