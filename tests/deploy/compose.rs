//! `deploy/compose.yaml`, as Docker's own reader takes it: no engine is needed.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::server::{Role, tree, variable};

/// Where the shipped configuration is in a container.
const CONFIG: &str = "/etc/qqrelay.toml";

/// The variables of `deploy/env.example`, filled in.
fn variables() -> anyhow::Result<Vec<(String, String)>> {
    let example = fs::read_to_string(tree().join("deploy/env.example"))?;
    let names = example.lines().filter_map(|line| line.strip_suffix('='));
    Ok(names.map(|name| (name.to_owned(), format!("p-{name}"))).collect())
}

fn read(variables: &[(String, String)]) -> anyhow::Result<Output> {
    let reader = tree().join("target/deploy/compose");
    let file = tree().join("deploy/compose.yaml");
    let envs = variables.iter().map(|(name, value)| (name, value));
    Ok(Command::new(reader).arg(file).env_clear().envs(envs).output()?)
}

fn project() -> anyhow::Result<Value> {
    let read = read(&variables()?)?;
    ensure!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    Ok(serde_json::from_slice(&read.stdout)?)
}

/// What is mounted into a container: where, and from where.
fn mounts(service: &Value) -> Vec<(&str, &str)> {
    let volumes = service["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ends = volumes.iter().map(|volume| (volume["target"].as_str(), volume["source"].as_str()));
    ends.filter_map(|(target, source)| target.zip(source)).collect()
}

#[test]
fn gateway_and_worker_find_what_they_are_told_of() -> anyhow::Result<()> {
    let project = project()?;
    for role in [Role::Gateway, Role::Worker] {
        let service = &project["services"][role.user()];
        ensure!(service["command"] == serde_json::json!([role.user(), "--config", CONFIG]));
        let shipped = tree().join("deploy/qqrelay.toml").canonicalize()?;
        ensure!(mounts(service) == [(CONFIG, shipped.to_str().context("a path")?)]);
        let env = &service["environment"];
        ensure!(env["QQRELAY_NATS__USER"] == role.user());
        ensure!(env["QQRELAY_NATS__INBOX_PREFIX"] == role.inbox());

        let told = format!("{env}{}", fs::read_to_string(&shipped)?);
        let words: Vec<&str> = told.split('"').collect();
        let given = service["secrets"].as_array().context("secrets")?;
        let targets: BTreeSet<_> =
            given.iter().filter_map(|each| each["target"].as_str()).collect();
        let wanted = words.iter().filter(|word| word.starts_with("/run/secrets/")).copied();
        ensure!(targets == wanted.collect(), "{targets:?} are given to {}", role.user());
        let hosts = words.iter().filter_map(|word| word.split_once("://")?.1.split(':').next());
        for host in hosts {
            ensure!(project["services"][host].is_object(), "nobody is {host}");
        }
    }
    Ok(())
}

#[test]
fn each_variable_of_the_example_goes_somewhere() -> anyhow::Result<()> {
    let text = project()?.to_string();
    for (name, value) in variables()? {
        let is_used = text.contains(&value) || text.contains(&format!(r#""environment":"{name}""#));
        ensure!(is_used, "nobody wants {name}");
    }
    Ok(())
}

#[test]
fn a_password_of_the_servers_that_is_missing_is_named() -> anyhow::Result<()> {
    let all = variables()?;
    for role in Role::ALL {
        let name = variable(role);
        let others: Vec<_> = all.iter().filter(|(other, _)| *other != name).cloned().collect();
        ensure!(others.len() + 1 == all.len(), "deploy/env.example has no {name}");
        let read = read(&others)?;
        let said = String::from_utf8_lossy(&read.stderr);
        ensure!(!read.status.success() && said.contains(&name), "{said}");
    }
    Ok(())
}
