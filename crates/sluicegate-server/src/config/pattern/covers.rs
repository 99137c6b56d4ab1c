//! Whether one pattern matches all that another does, exactly: what would make a route behind it pointless.

use super::{HostPattern, Match, PathPattern, Segment};

impl Match {
    /// Whether this matches all requests that the other does.
    ///
    /// ```
    /// use sluicegate_server::config::Match;
    /// let below = Match { path: Some("/api/**".parse()?), ..Match::default() };
    /// assert!(Match::default().covers(&below) && !below.covers(&Match::default()));
    /// # Ok::<(), sluicegate_server::config::pattern::PatternError>(())
    /// ```
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let methods = &self.methods;
        let host = match (&self.host, &other.host) {
            (None, _) => true,
            (Some(host), Some(other)) => host.covers(other),
            (Some(_), None) => false,
        };
        let path = match (&self.path, &other.path) {
            (None, _) => true,
            (Some(path), Some(other)) => path.covers(other),
            (Some(path), None) => path.open && path.segments.is_empty(),
        };
        let all = |others: &[_]| !others.is_empty() && others.iter().all(|other| methods.contains(other));
        host && path && (methods.is_empty() || all(&other.methods))
    }
}

impl HostPattern {
    /// Whether this matches all hosts that the other does.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        if !self.below {
            return !other.below && self.name == other.name;
        }
        let inside = || other.name.strip_suffix(&self.name).is_some_and(|rest| rest.ends_with('.'));
        (other.below && self.name == other.name) || inside()
    }
}

impl PathPattern {
    /// Whether this matches all paths that the other does.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (mine, others) = (&self.segments, &other.segments);
        // An open pattern matches paths of every length from its own on.
        let lengths =
            if self.open { mine.len() <= others.len() } else { !other.open && mine.len() == others.len() };
        lengths && mine.iter().zip(others).all(|(mine, other)| mine.covers(other))
    }
}

impl Segment {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Is(name)) => !name.is_empty(),
            (Self::Any, Self::Any) => true,
            (Self::Is(mine), Self::Is(other)) => mine == other,
            (Self::Is(_), Self::Any) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    /// All ways to continue a text with up to `most` of these, and with one of the ends.
    fn all(parts: &[&str], ends: &[&str], most: usize) -> Vec<String> {
        let mut texts = vec![String::new()];
        let mut last = texts.clone();
        for _ in 0..most {
            last =
                last.iter().flat_map(|text| parts.iter().map(move |part| format!("{text}/{part}"))).collect();
            texts.extend(last.iter().cloned());
        }
        let ended = texts.iter().flat_map(|text| ends.iter().map(move |end| format!("{text}{end}")));
        ended.filter(|text| !text.is_empty()).collect()
    }

    #[test]
    fn a_path_covers_another_if_it_matches_all_that_does() {
        let patterns: Vec<PathPattern> =
            all(&["a", "b", "*"], &["", "/", "/**"], 3).iter().map(|text| text.parse().unwrap()).collect();
        // A segment that no pattern names, and one more segment than any has.
        let paths = all(&["a", "b", "c"], &["", "/"], 4);
        let (mut covering, mut apart) = (0, 0);
        for one in &patterns {
            for other in &patterns {
                let exact = paths.iter().all(|path| !other.matches(path) || one.matches(path));
                assert_eq!(one.covers(other), exact, "{one} {other}");
                if exact { covering += 1 } else { apart += 1 }
            }
        }
        assert!(covering > 1000 && apart > 1000, "{covering} {apart}");
    }

    #[test]
    fn a_host_covers_another_if_it_matches_all_that_does() {
        let names =
            ["a", "b", "a.a", "b.a", "a.b", "a.b.a", "ba", "x.ba", "c.a", "c.b.a", "c.ba", "c.c.a", "c.b"];
        let below = names.map(|name| format!("*.{name}"));
        let patterns: Vec<HostPattern> = names
            .into_iter()
            .chain(below.iter().map(String::as_str))
            .map(|text| text.parse().unwrap())
            .collect();
        let mut hosts: Vec<String> = names.map(str::to_owned).to_vec();
        hosts.extend(names.iter().flat_map(|name| [format!("z.{name}"), format!("y.z.{name}")]));
        for one in &patterns {
            for other in &patterns {
                let exact = hosts.iter().all(|host| !other.matches(host) || one.matches(host));
                assert_eq!(one.covers(other), exact, "{one} {other}");
            }
        }
        let six: HostPattern = "[::1]".parse().unwrap();
        assert!(six.covers(&six));
    }

    #[test]
    fn a_match_covers_another_in_all_its_parts() {
        let is = |host: &str, path: &str, methods: &[Method]| Match {
            host: (!host.is_empty()).then(|| host.parse().unwrap()),
            path: (!path.is_empty()).then(|| path.parse().unwrap()),
            methods: methods.to_vec(),
        };
        let get = std::slice::from_ref(&Method::GET);
        let both = &[Method::GET, Method::POST][..];
        for (one, other, covers) in [
            (is("", "", &[]), is("a", "/b", get), true),
            (is("", "/**", &[]), is("", "", &[]), true),
            (is("", "/*", &[]), is("", "", &[]), false),
            (is("a", "", &[]), is("", "", &[]), false),
            (is("a", "", &[]), is("a", "/b", &[]), true),
            (is("", "", get), is("", "", &[]), false),
            (is("", "", get), is("", "", both), false),
            (is("", "", both), is("", "", get), true),
        ] {
            assert_eq!(one.covers(&other), covers, "{one:?} {other:?}");
        }
    }
}
