//! A strict reader of the Prometheus text format: what a scraper would reject or misread fails the test.
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// The samples of one answer of `/metrics`.
#[derive(Debug, Clone)]
pub struct Metrics {
    samples: Vec<Sample>,
}

/// One line: a name, labels and a value.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// What a family of a type may append to its name.
const SUFFIXES: &[(&str, &[&str])] = &[
    ("counter", &["", "_total", "_created"]),
    ("gauge", &[""]),
    ("histogram", &["_bucket", "_sum", "_count", "_created"]),
    ("info", &["_info"]),
    ("unknown", &[""]),
    ("untyped", &[""]),
];

impl Metrics {
    /// Reads the text.
    ///
    /// # Panics
    /// If a line is malformed, a family's type comes twice or after its samples, a sample belongs to no
    /// family or comes twice, or a histogram's buckets do not add up.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut types: BTreeMap<&str, &str> = BTreeMap::new();
        let mut samples: Vec<Sample> = Vec::new();
        let mut keys = HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type in {line:?}"));
                assert!(SUFFIXES.iter().any(|(known, _)| *known == kind), "unknown type in {line:?}");
                assert!(types.insert(name, kind).is_none(), "a second type for {name}");
            } else if !line.starts_with('#') && !line.is_empty() {
                let sample = parse_sample(line).unwrap_or_else(|| panic!("malformed: {line:?}"));
                assert!(belongs(&types, &sample.name), "{line:?} belongs to no family");
                assert!(keys.insert((sample.name.clone(), sample.labels.clone())), "twice: {line:?}");
                samples.push(sample);
            }
        }
        let metrics = Self { samples };
        for (name, _) in types.iter().filter(|(_, kind)| **kind == "histogram") {
            metrics.check_histogram(name);
        }
        metrics
    }

    /// The sum of the samples of this name that carry all of `labels`; none if there is no such sample.
    #[must_use]
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let carries = |sample: &&Sample| {
            labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|v| v == value))
        };
        let named = self.samples.iter().filter(|sample| sample.name == name);
        named.filter(carries).map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// The same of samples that must be there: a name or label that is misspelt must not pass for a 0.
    ///
    /// # Panics
    /// If there is no such sample.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| {
            let named: Vec<_> = self.samples.iter().filter(|sample| sample.name == name).collect();
            panic!("no sample of {name} carries {labels:?}, only {named:?}")
        })
    }

    /// [`Metrics::sum`] of what can only be a whole number.
    #[must_use]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let sum = self.sum(name, labels);
        sum.to_string().parse().unwrap_or_else(|_| panic!("{name}{labels:?} is {sum}"))
    }

    /// Whether there is a sample of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }

    /// The values of `label` among the samples of this name.
    #[must_use]
    pub fn label_values(&self, name: &str, label: &str) -> BTreeSet<String> {
        let named = self.samples.iter().filter(|sample| sample.name == name);
        named.filter_map(|sample| sample.labels.get(label).cloned()).collect()
    }

    /// Buckets grow with their bound, and the last, `+Inf`, is the count.
    fn check_histogram(&self, name: &str) {
        let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name == format!("{name}_bucket")) {
            let mut labels = sample.labels.clone();
            let bound = labels.remove("le").unwrap_or_else(|| panic!("{name}: a bucket without a bound"));
            series.entry(labels).or_default().push((number(&bound).expect("a bound"), sample.value));
        }
        for (labels, buckets) in series {
            assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name}{labels:?}: {buckets:?}");
            let pairs: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let count = self.sum(&format!("{name}_count"), &pairs);
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{name}{labels:?}");
        }
    }
}

/// Whether a family that was announced before owns this sample's name.
fn belongs(types: &BTreeMap<&str, &str>, sample: &str) -> bool {
    SUFFIXES.iter().any(|(kind, suffixes)| {
        let mut families = suffixes.iter().filter_map(|suffix| sample.strip_suffix(suffix));
        families.any(|family| types.get(family) == Some(kind))
    })
}

fn parse_sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(mut inside) = rest.strip_prefix('{') {
        while !inside.starts_with('}') {
            let (label, after) = inside.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            is_name(label).then_some(())?;
            labels.insert(label.to_owned(), value).is_none().then_some(())?;
            inside = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &inside[1..];
    }
    let value = number(rest.strip_prefix(' ')?)?;
    is_name(name).then(|| Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quote, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_labels_and_sums_them() {
        let text = "# HELP a Help.\n# TYPE a counter\na_total{x=\"1\",y=\"q\\\"\\\\\\n\"} 2\na_total{x=\"2\"} 3\n# EOF\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.count("a_total", &[]), 5);
        assert_eq!(metrics.count("a_total", &[("y", "q\"\\\n")]), 2);
        assert_eq!(metrics.find("b", &[]), None);
        assert_eq!(metrics.label_values("a_total", "x").len(), 2);
    }

    #[test]
    #[should_panic(expected = "no sample of a carries")]
    fn what_is_not_there_is_not_0() {
        let _ = Metrics::parse("# TYPE a gauge\na{x=\"1\"} 0\n").count("a", &[("x", "2")]);
    }

    #[test]
    #[should_panic(expected = "belongs to no family")]
    fn a_sample_needs_a_family() {
        let _ = Metrics::parse("a_total 1\n");
    }

    #[test]
    #[should_panic(expected = "twice")]
    fn a_sample_comes_once() {
        let _ = Metrics::parse("# TYPE a gauge\na{x=\"1\"} 1\na{x=\"1\"} 1\n");
    }

    #[test]
    #[should_panic(expected = "h{}")]
    fn buckets_add_up() {
        let _ = Metrics::parse(
            "# TYPE h histogram\nh_bucket{le=\"1.0\"} 2\nh_bucket{le=\"+Inf\"} 3\nh_count 4\nh_sum 1\n",
        );
    }
}
