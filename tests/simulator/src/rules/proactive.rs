//! How many messages a bot may begin by itself.
//!
//! A message goes through several counts at once (its place's and its bot's, by minute and by day)
//! and is counted in all of them or in none.

use std::collections::HashSet;

use qqrelay_proto::id::{Scene, Scope};

use super::limits::{ProactiveLimits, ProactiveRight};
use super::meter::{Meter, day};
use super::recent::Recent;
use super::{Allowance, Refusal};
use crate::clock::WallMs;

/// What one bot began.
#[derive(Debug)]
pub struct Proactive {
    limits: ProactiveLimits,
    c2c_burst: Meter<()>,
    c2c: Meter<()>,
    user: Meter<String>,
    user_day: Meter<String>,
    groups: Meter<()>,
    group: Meter<String>,
    group_day: Meter<String>,
    channel_day: Meter<String>,
    dm_day: Meter<String>,
    dms_day: Meter<()>,
    channels: ChannelsToday,
}

/// The channels of each guild that the bot wrote first into today.
#[derive(Debug)]
struct ChannelsToday {
    day: i64,
    of_guild: Recent<String, HashSet<String>>,
}

impl Proactive {
    /// Nothing was sent yet.
    #[must_use]
    pub fn new(limits: ProactiveLimits) -> Self {
        Self {
            c2c_burst: Meter::new(limits.c2c_burst),
            c2c: Meter::new(limits.c2c),
            user: Meter::new(limits.user),
            user_day: Meter::new(limits.user_day),
            groups: Meter::new(limits.groups),
            group: Meter::new(limits.group),
            group_day: Meter::new(limits.group_day),
            channel_day: Meter::new(limits.channel_day),
            dm_day: Meter::new(limits.dm_day),
            dms_day: Meter::new(limits.dms_day),
            channels: ChannelsToday::on(0),
            limits,
        }
    }

    /// Counts one message into `scope`, a channel of which lies in `guild`.
    ///
    /// # Errors
    /// The bot may not write first, or not so often.
    pub fn take(&mut self, scope: &Scope, guild: Option<&str>, now: WallMs) -> Result<(), Refusal> {
        let id = scope.id.to_string();
        match scope.scene {
            Scene::C2c => {
                self.right()?;
                let free = self.c2c_burst.allows(&(), now)
                    && self.c2c.allows(&(), now)
                    && self.user.allows(&id, now)
                    && self.user_day.allows(&id, now);
                free.then_some(()).ok_or(Refusal::ProactiveRate)?;
                self.c2c_burst.count((), now);
                self.c2c.count((), now);
                self.user.count(id.clone(), now);
                self.user_day.count(id, now);
            }
            Scene::Group => {
                self.right()?;
                let free = self.groups.allows(&(), now)
                    && self.group.allows(&id, now)
                    && self.group_day.allows(&id, now);
                free.then_some(()).ok_or(Refusal::ProactiveRate)?;
                self.groups.count((), now);
                self.group.count(id.clone(), now);
                self.group_day.count(id, now);
            }
            Scene::Channel => {
                if !self.channel_day.allows(&id, now) {
                    return Err(Refusal::ChannelPushUsed);
                }
                if let Allowance::Of { count, .. } = self.limits.guild_channels_day {
                    let channels = self.channels.of(guild.unwrap_or_default(), now);
                    if channels.len() >= count as usize && !channels.contains(&id) {
                        return Err(Refusal::ChannelPushCount);
                    }
                    channels.insert(id.clone());
                }
                self.channel_day.count(id, now);
            }
            Scene::Dm => {
                if !self.dm_day.allows(&id, now) {
                    return Err(Refusal::DmPushUser);
                }
                if !self.dms_day.take((), now) {
                    return Err(Refusal::DmPushTotal);
                }
                self.dm_day.count(id, now);
            }
            Scene::Guild | Scene::App => {}
        }
        Ok(())
    }

    const fn right(&self) -> Result<(), Refusal> {
        match self.limits.v2 {
            ProactiveRight::Granted => Ok(()),
            ProactiveRight::Refused => Err(Refusal::ProactiveRefused),
        }
    }
}

impl ChannelsToday {
    /// Guilds remembered of one day; who writes into more is past every other limit.
    const GUILDS_MAX: usize = 10_000;

    fn on(day: i64) -> Self {
        Self { day, of_guild: Recent::new(Self::GUILDS_MAX) }
    }

    fn of(&mut self, guild: &str, now: WallMs) -> &mut HashSet<String> {
        if self.day != day(now) {
            *self = Self::on(day(now));
        }
        self.of_guild.entry(&guild.to_owned(), HashSet::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of 2,000 attempts, one every `step_ms`, go through before the first refusal, and which.
    fn until_refused(
        scene: Scene,
        places: u32,
        step_ms: WallMs,
        limits: ProactiveLimits,
    ) -> (u32, Option<Refusal>) {
        let mut proactive = Proactive::new(limits);
        for attempt in 0..2_000_u32 {
            let scope = Scope::new(scene, format!("{}", attempt % places));
            let now = WallMs::from(attempt) * step_ms;
            if let Err(refusal) = proactive.take(&scope, Some("guild"), now) {
                return (attempt, Some(refusal));
            }
        }
        (2_000, None)
    }

    #[test]
    fn each_scene_refuses_in_its_own_words_at_its_own_number() {
        let check = |scene, places, step_ms, expected| {
            let found = until_refused(scene, places, step_ms, ProactiveLimits::default());
            assert_eq!(found, expected, "{scene}, {places} places, every {step_ms} ms");
        };
        let rate = Some(Refusal::ProactiveRate);
        check(Scene::C2c, 2_000, 0, (5, rate));
        check(Scene::C2c, 2_000, 500, (30, rate));
        check(Scene::C2c, 1, 2_500, (20, rate));
        check(Scene::C2c, 1, 3_001, (1_000, rate));
        check(Scene::Group, 2_000, 0, (30, rate));
        check(Scene::Group, 1, 0, (20, rate));
        check(Scene::Channel, 1, 0, (20, Some(Refusal::ChannelPushUsed)));
        check(Scene::Channel, 3, 0, (2, Some(Refusal::ChannelPushCount)));
        check(Scene::Dm, 1, 0, (2, Some(Refusal::DmPushUser)));
        check(Scene::Dm, 2_000, 0, (200, Some(Refusal::DmPushTotal)));
    }

    #[test]
    fn a_bot_without_the_right_is_refused_at_once() {
        let limits = ProactiveLimits { v2: ProactiveRight::Refused, ..ProactiveLimits::default() };
        let refused = (0, Some(Refusal::ProactiveRefused));
        assert_eq!(until_refused(Scene::Group, 1, 0, limits.clone()), refused);
        assert_eq!(until_refused(Scene::C2c, 1, 0, limits), refused);
    }

    #[test]
    fn a_channel_already_written_to_does_not_count_again() {
        let mut proactive = Proactive::new(ProactiveLimits::default());
        let mut push =
            |channel: &str| proactive.take(&Scope::new(Scene::Channel, channel), Some("guild"), 0);
        for channel in ["1", "2", "1", "2"] {
            assert_eq!(push(channel), Ok(()));
        }
        assert_eq!(push("3"), Err(Refusal::ChannelPushCount));
    }

    #[test]
    fn a_refused_message_is_counted_nowhere() {
        let mut proactive = Proactive::new(ProactiveLimits {
            group: Allowance::per_minute(1),
            groups: Allowance::per_minute(2),
            ..ProactiveLimits::default()
        });
        let mut push = |group: &str| proactive.take(&Scope::new(Scene::Group, group), None, 0);
        assert_eq!(push("a"), Ok(()));
        assert_eq!(push("a"), Err(Refusal::ProactiveRate));
        assert_eq!(push("b"), Ok(()));
    }
}
