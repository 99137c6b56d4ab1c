//! What is right of retries and hedges.

use super::{Wrong, size, time};
use crate::config::attempts::{After, MAX_REPLAY, Share};
use crate::config::settings::{RouteSettings, SettingsError, UpstreamSettings};

/// How often a request may be tried.
const MOST: usize = 10;

pub(super) fn check(route: &RouteSettings, wrong: &mut Wrong) {
    let at = |setting: &str| format!("route.{}.{setting}", route.name);
    let attempts = &route.attempts;
    wrong.note(size(&at("replay"), attempts.replay, 0..=MAX_REPLAY));
    let in_time = |setting: &str, given| {
        let expected = format!("less than the deadline, {:?}: later than that nobody waits", route.deadline);
        let error = SettingsError::new(at(setting), format!("{given:?}"), expected);
        if given < route.deadline { Ok(()) } else { Err(error.beside(at("deadline"))) }
    };
    if let Some(timeout) = attempts.timeout {
        wrong.note(time(&at("attempt-timeout"), timeout).and_then(|()| in_time("attempt-timeout", timeout)));
    }
    if let Some(retry) = &attempts.retry {
        if !(2..=MOST).contains(&retry.attempts) {
            let expected = format!("from 2 to {MOST}, the first included");
            wrong.push(SettingsError::new(at("retry.attempts"), retry.attempts, expected));
        }
        wrong.note(time(&at("retry.pause"), retry.pause));
        wrong.note(time(&at("retry.max-pause"), retry.max_pause));
        if retry.max_pause < retry.pause {
            let expected = format!("at least as long as `pause`, {:?}", retry.pause);
            let error = SettingsError::new(at("retry.max-pause"), format!("{:?}", retry.max_pause), expected);
            wrong.push(error.beside(at("retry.pause")));
        }
        wrong.note(size(&at("retry.on"), retry.on.len(), 1..=32));
        wrong.note(share(&at("retry.budget"), retry.budget));
    }
    if let Some(hedge) = &attempts.hedge {
        match hedge.after {
            After::Fixed(after) => {
                let hedged = time(&at("hedge.after"), after).and_then(|()| in_time("hedge.after", after));
                wrong.note(hedged.and_then(
                    |()| match attempts.timeout.filter(|timeout| after >= *timeout) {
                        None => Ok(()),
                        Some(timeout) => {
                            let expected = format!(
                                "less than the attempt-timeout, {timeout:?}: by then the attempt is over"
                            );
                            let error = SettingsError::new(at("hedge.after"), format!("{after:?}"), expected);
                            Err(error.beside(at("attempt-timeout")))
                        }
                    },
                ));
            }
            After::Percentile { first, .. } => {
                wrong.note(time(&at("hedge.first"), first).and_then(|()| in_time("hedge.first", first)));
            }
        }
        wrong.note(share(&at("hedge.budget"), hedge.budget));
    }
}

/// What an upstream is told leaves some time to it, on each route that goes there.
pub(super) fn check_reserve(upstream: &UpstreamSettings, routes: &[RouteSettings], wrong: &mut Wrong) {
    if upstream.deadline_header.is_none() {
        return;
    }
    let reserve = upstream.deadline_reserve;
    for route in routes.iter().filter(|route| route.upstreams.contains(&upstream.name)) {
        let times = [("deadline", Some(route.deadline)), ("attempt-timeout", route.attempts.timeout)];
        let given = times.into_iter().filter_map(|(what, time)| Some((what, time?)));
        // One is enough: of the other routes the same would be said at the same place.
        if let Some((what, time)) = given.into_iter().find(|(_, time)| reserve >= *time) {
            let expected = format!(
                "a reserve of less than the {what} of the route `{}`, {time:?}: nothing would be left for the upstream",
                route.name
            );
            let setting = format!("upstream.{}.deadline-reserve", upstream.name);
            let error = SettingsError::new(setting, format!("{reserve:?}"), expected);
            wrong.push(error.beside(format!("route.{}.{what}", route.name)));
            return;
        }
    }
}

fn share(setting: &str, share: Share) -> Result<(), SettingsError> {
    if share <= Share::percent(100) {
        return Ok(());
    }
    Err(SettingsError::new(setting, share, "a share of the requests up to 100%"))
}
