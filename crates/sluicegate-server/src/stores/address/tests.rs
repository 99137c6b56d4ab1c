use proptest::prelude::*;

use super::*;

fn right(text: &str) -> String {
    text.parse::<StoreAddress>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

fn wrong(text: &str) -> String {
    let error = text.parse::<StoreAddress>().expect_err(text);
    let said = error.to_string();
    assert!(!error.expected().is_empty() && said.contains("expected"), "{said}");
    assert!(!said.contains(char::is_control), "{said:?}");
    said
}

#[test]
fn addresses_are_shown_as_they_are_read_but_for_the_password() {
    for (text, shown) in [
        ("memory", "memory"),
        (" Memory\n", "memory"),
        ("disk:quotas.redb", "disk:quotas.redb"),
        ("disk:/var/lib/a b/quotas.redb?strict", "disk:/var/lib/a b/quotas.redb"),
        ("DISK:C:quotas?write-behind=100ms", "disk:C:quotas?write-behind=100ms"),
        ("disk:what?.redb?max-keys=10&patience=2s&create=yes", "disk:what?.redb?patience=2s&max-keys=10"),
        ("redis://localhost", "redis://localhost"),
        ("redis://[::1]:6380/2", "redis://[::1]:6380/2"),
        ("redis://:secret@host", "redis://:…@host"),
        ("redis://secret@host", "redis://…@host"),
        ("redis://ann:p%40s%2Fs%20%C3%A9@host/3", "redis://ann:…@host/3"),
        ("rediss://host?ca=/etc/our ca.pem&prefix=a", "rediss://host?ca=/etc/our ca.pem&prefix=a"),
        ("rediss://host?cert=c.pem&key=k.pem", "rediss://host?cert=c.pem&key=k.pem"),
        ("REDIS+cluster://a:1,[::1]:2,c", "redis+cluster://a:1,[::1]:2,c"),
        ("rediss+cluster://ann:s@a,b/0?one-slot=t", "rediss+cluster://ann:…@a,b/0?one-slot=t"),
        (
            "valkey://host?timeout=1500us&connect-timeout=1500ms",
            "valkey://host?timeout=1500us&connect-timeout=1500ms",
        ),
        ("valkey://host?timeout=100ms&connect-timeout=2s", "valkey://host?timeout=100ms&connect-timeout=2s"),
    ] {
        assert_eq!(right(text), shown, "{text}");
        assert_eq!(format!("{:?}", text.parse::<StoreAddress>()), format!("Ok(StoreAddress({shown}))"));
        // What is shown is an address too, unless something was hidden.
        assert!(shown.contains('…') || right(shown) == shown, "{shown}");
    }
}

#[test]
fn addresses_are_the_same_if_they_mean_the_same() {
    let read = |text: &str| text.parse::<StoreAddress>().unwrap();
    assert_eq!(read("disk:a"), read("disk:a?strict&create=yes"));
    assert_eq!(read("redis://a?timeout=1s&prefix=b"), read("Redis://a?prefix=b&timeout=1000ms"));
    assert_ne!(read("redis://u:one@a"), read("redis://u:two@a"), "shown alike");
    assert_ne!(read("disk:a"), read("disk:a?write-behind=1s"));
}

#[test]
fn what_is_no_address_is_told_what_would_be_right() {
    for (text, says) in [
        ("", "a store without an address: expected `memory`"),
        ("memory:", "`memory` and nothing behind it"),
        ("memory://x", "`memory` and nothing behind it"),
        ("memroy", "did you mean `memory`?"),
        ("disk", "a file's path, as in `disk:/var/lib/quotas.redb`"),
        ("disk:", "a file's path"),
        ("disk:?strict", "a file's path"),
        ("disk://var/lib/q", "expected no host, only a path: `disk:/var/lib/q`"),
        ("disk:///var/lib/q", "`disk:/var/lib/q`"),
        ("disk: a", "the path right behind the colon: `disk:a`"),
        ("disc:a", "did you mean `disk`?"),
        ("file:/a", "did you mean `disk`?"),
        ("/var/lib/q", "did you mean `disk:/var/lib/q`?"),
        ("~/q:1", "did you mean `disk:~/q:1`?"),
        ("localhost:6379", "did you mean `redis://localhost:6379`?"),
        ("10.0.0.7:6379/2", "did you mean `redis://10.0.0.7:6379/2`?"),
        ("reddis://a", "did you mean `redis`?"),
        ("redis-cluster://a", "did you mean `redis+cluster`?"),
        ("http://a", "expected `memory`"),
        ("unix:/run/redis.sock", "sockets of Unix are not spoken"),
        ("redis", "two slashes behind the colon"),
        ("redis:localhost", "as in `redis://127.0.0.1:6379`"),
        ("redis://", "and a host"),
        ("redis://host:99999", "user:password@host:port/database"),
        ("redis://host/nine", "user:password@host:port/database"),
        ("redis://::1", "user:password@host:port/database"),
        ("redis://a,b", "several are a Cluster's: redis+cluster://"),
        ("redis://a b", "no spaces"),
        ("redis+cluster://a, b", "no spaces"),
        ("redis+cluster://a,,b", "and a host"),
        ("redis+cluster://a/3", "no database: a Cluster has one only"),
        ("rediss://a#insecure", "no `#` in it"),
        ("redis://a?ca=x.pem", "option `ca=x.pem`: expected TLS for it: `rediss` instead of `redis`"),
        ("rediss://a?cert=x.pem", "options `cert` and `key` together"),
        ("rediss://a?ca", "option `ca`: expected a value, as in `ca=…`"),
        ("redis://a?tiemout=1s", "did you mean `timeout`?"),
        ("redis://a?timeout=1", "option `timeout=1`: expected a number and a unit"),
        ("redis://a?timeout=0s", "a time from 1ms to 24h, as in `timeout=100ms`"),
        ("redis://a?timeout=1s&timeout=2s", "each option once"),
        ("redis://a?prefix={a}", "text without braces"),
        ("redis://a?", "one of ca, cert, key, timeout"),
        ("disk:a?write-behnd=1s", "did you mean `write-behind`?"),
        ("disk:a?strict&write-behind=1s", "either `strict` or `write-behind`"),
        ("disk:a?write-behind=1s&strict", "either `strict` or `write-behind`"),
        ("disk:a?strict=yes", "`strict` alone"),
        ("disk:a?max-keys=0", "a whole number from 1 to 2147483648"),
        ("disk:a?create=maybe", "`create=yes` or `create=no`"),
        ("disk:a\u{7}b?x", "disk:a\u{fffd}b"),
    ] {
        let said = wrong(text);
        assert!(said.contains(says), "{text}: {said}");
    }
}

#[test]
fn no_error_shows_a_password() {
    for text in [
        "redis://ann:hunter2@host/nine",
        "redis://ann:hunter2@host:99999",
        "redis://:hunter2@",
        "redis://hunter2@a b",
        "redis://ann:hunter2@a?tiemout=1s",
        "redis://ann:hunter2@a?ca=x",
        "redis:ann:hunter2@host",
        "reddis://ann:hunter2@host",
        "hunter2@host:6379",
        "ann:hunter2@host",
        "redis://ann:hunter2/1@host",
        "redis://ann:hunter2?a@host",
        "redis://ann:x?hunter2=1@host",
        "redis://ann:hunter2#@host",
        "redis://ann:hun@hunter2@host",
        "redis://ann:a hunter2@host",
        "redis://ann:%zz%ffhunter2@host:x",
        "memory:hunter2@x",
        "disk://ann:hunter2@host",
        "mailto:hunter2@host?ca=a",
        "redis:hunter2://@host",
        "redis://ann:hunter2",
        "redis://:hunter2/1",
        "redis+cluster://a:1,:hunter2",
        "redis://a?password=hunter2",
        "redis://ann:x@a?Auth=hunter2&timeout=1s",
        "redis://a?timeout=1s&passwd=hunter2",
        "disk:q.redb?secret=hunter2",
    ] {
        let error = text.parse::<StoreAddress>().expect_err(text);
        let all = format!("{error} {error:?} {}", error.expected());
        assert!(!all.contains("hunter2"), "{text}: {all}");
    }
}

#[test]
fn files_are_taken_from_a_folder_and_timeouts_are_set() {
    let moved = |text: &str| {
        let address: StoreAddress = text.parse().unwrap();
        address.in_folder(Path::new("/etc/gate")).to_string()
    };
    assert_eq!(moved("memory"), "memory");
    assert_eq!(moved("disk:q.redb"), "disk:/etc/gate/q.redb");
    assert_eq!(moved("disk:/q.redb"), "disk:/q.redb");
    assert_eq!(moved("rediss://a?ca=ca.pem"), "rediss://a?ca=/etc/gate/ca.pem");
    let address: StoreAddress = "redis://a?timeout=1s".parse().unwrap();
    assert_eq!(address.timeout(), Some(Duration::from_secs(1)));
    let quick = address.with_timeout(Duration::from_millis(5));
    assert_eq!(quick.to_string(), "redis://a?timeout=5ms&connect-timeout=5ms");
    assert!(quick.is_shared() && quick.is_kept());
    let disk: StoreAddress = "disk:a".parse().unwrap();
    assert!(!disk.is_shared() && disk.is_kept() && disk.timeout().is_none());
    assert_eq!(disk.with_timeout(Duration::from_secs(3)).to_string(), "disk:a?patience=3s");
}

/// It may be a password that was put in the place of the name.
#[test]
fn a_name_with_an_empty_password_is_hidden() {
    assert_eq!(hidden("redis://hunter2:@host"), "redis://…@host");
}

proptest! {
    /// Whatever stands between a colon and the last `@`.
    #[test]
    fn no_password_is_ever_shown(
        scheme in "(redis|rediss|redis\\+cluster|valkey|http|)(:|://|:/)?",
        before in "[a-z:/?#%@,&= ]{0,6}",
        after in "[a-z0-9:/?#%@,&=\\[\\] ]{0,6}",
        rest in "[a-z0-9:/?&=,\\[\\]%#. ]{0,12}",
    ) {
        let prefix = format!("{scheme}:{before}");
        // Before a colon of its own it is a name, which is shown.
        let is_name = prefix
            .split_once("://")
            .is_some_and(|(scheme, name)| !scheme.contains([':', '@']) && !name.contains(':'));
        prop_assume!(!is_name || !after.contains(':'));
        let text = format!("{prefix}hunter2{after}@{rest}");
        let all = match text.parse::<StoreAddress>() {
            Ok(address) => format!("{address} {address:?}"),
            Err(error) => format!("{error} {error:?} {}", error.expected()),
        };
        prop_assert!(!all.contains("hunter2"), "{}: {}", text, all);
        prop_assert!(!hidden(&text).contains("hunter2"), "{} as {}", text, hidden(&text));
    }

    #[test]
    fn no_text_is_too_odd(text in "(memory|disk|redis|rediss|valkey\\+cluster|\\PC{0,4}):?(//)?\\PC{0,40}") {
        match text.parse::<StoreAddress>() {
            // What is shown means the same again, where nothing is hidden.
            Ok(address) if !address.to_string().contains('…') => {
                prop_assert_eq!(address.to_string().parse::<StoreAddress>(), Ok(address));
            }
            Ok(_) => {}
            Err(error) => prop_assert!(!error.to_string().contains(char::is_control)),
        }
    }
}
