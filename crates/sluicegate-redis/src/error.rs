//! What an error of Redis's is to a store.

use std::sync::Arc;

use redis::{ErrorKind, RedisError};
use sluicegate::store::StoreError;

use crate::settings::Settings;

/// What became of a call that failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The node has not done it and another may: after a moment, or where it says.
    Elsewhere(RedisError),
    /// The script is not known there.
    NoScript,
    /// The connection is of no more use.
    Connection(StoreError),
    /// It has been refused.
    Refused(StoreError),
}

/// Not reached, or not ready: nothing was decided.
pub(crate) fn away(error: RedisError) -> StoreError {
    StoreError::Away { cause: Some(Arc::new(error)) }
}

/// What a failed call means.
pub(crate) fn of(error: RedisError, settings: &Settings) -> Failed {
    let code = error.code().unwrap_or_default().to_owned();
    let text = error.to_string();
    match code.as_str() {
        "NOSCRIPT" => return Failed::NoScript,
        "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" if settings.names.is_cluster => {
            return Failed::Elsewhere(error);
        }
        "LOADING" | "MASTERDOWN" | "READONLY" => return Failed::Elsewhere(error),
        _ => {}
    }
    if error.kind() == ErrorKind::ClusterConnectionNotFound {
        return Failed::Elsewhere(error);
    }
    if let Some(what) = refusal(&code, &text, error.kind(), settings) {
        return Failed::Refused(StoreError::Broken { what, cause: Some(Arc::new(error)) });
    }
    Failed::Connection(match error.kind() {
        _ if error.is_timeout() => StoreError::Timeout { after: settings.timeout },
        ErrorKind::Io if error.is_connection_refusal() => away(error),
        ErrorKind::Io => StoreError::Lost { cause: Arc::new(error) },
        ErrorKind::Parse => {
            // What the parser says goes over several lines.
            let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let what = format!(
                "what it says is not Redis's protocol ({said}): is this the port of another service?"
            );
            StoreError::Broken { what, cause: Some(Arc::new(error)) }
        }
        _ => StoreError::Broken { what: text, cause: Some(Arc::new(error)) },
    })
}

/// What a server that won't do it says, and what would help.
fn refusal(code: &str, text: &str, kind: ErrorKind, settings: &Settings) -> Option<String> {
    let (user, prefix) = (settings.user(), &settings.names.prefix);
    let has = |part: &str| code == part || text.contains(part);
    // Of a command of the script's: by Redis 7.0, and by later ones and Valkey.
    let in_script = ["can't run this command", "can't access", "ACL failure in script"];
    if has("NOPERM") || in_script.into_iter().any(has) {
        return Some(format!(
            "its user `{user}` may not do what the script needs ({text}): expected the rights `~{prefix}:* &{prefix}:* \
             +evalsha +eval +time +get +set +del +publish +subscribe +unsubscribe +ping +hello`; for \
             instances that are counted `+zadd +zrem +zcard +zscore +zrevrange +zremrangebyscore +pexpire`; in a Cluster also \
             `+spublish +ssubscribe +sunsubscribe +asking +cluster|slots`"
        ));
    }
    if has("NOAUTH") || has("WRONGPASS") || kind == ErrorKind::AuthenticationFailed {
        return Some(format!(
            "it does not let user `{user}` in ({text}): check user and password of the url"
        ));
    }
    if matches!(code, "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN") {
        return Some(format!("it is a node of a Cluster ({text}): expected the address redis+cluster://…"));
    }
    if has("cluster support disabled") {
        return Some(format!("it is no Cluster ({text}): expected the address redis://…"));
    }
    if kind == ErrorKind::RESP3NotSupported {
        return Some("it does not speak RESP3: expected Redis 6 or later, or Valkey".to_owned());
    }
    if has("OOM") {
        return Some(format!(
            "its memory is full ({text}): raise maxmemory; keys without an expiry are stocks"
        ));
    }
    if has("NOREPLICAS") {
        return Some(format!(
            "it has fewer replicas than its min-replicas-to-write wants ({text}): nothing is taken until they are back"
        ));
    }
    if has("unknown command") {
        return Some(format!(
            "it does not run scripts ({text}): EVALSHA and EVAL must not be renamed or disabled"
        ));
    }
    matches!(kind, ErrorKind::Server(_) | ErrorKind::Extension).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_is_missing_is_named_whoever_says_so() {
        let settings = Settings::new("redis://ann@host").unwrap();
        for text in [
            "NOPERM User ann has no permissions to run the 'evalsha' command",
            "The user executing the script can't run this command or subcommand script: 5d, on @user_script:8.",
            "The user executing the script can't access at least one of the keys mentioned in the command arguments",
            "ACL failure in script: User ann has no permissions to run the 'set' command script: 5d, on @user_script:8.",
            "ACL failure in script: No permissions to access a key script: 5d, on @user_script:8.",
        ] {
            let said = refusal("ERR", text, ErrorKind::Extension, &settings).unwrap();
            assert!(said.starts_with("its user `ann` may not do what the script needs"), "{said}");
        }
    }
}
