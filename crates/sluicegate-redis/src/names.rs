//! What keys are called in Redis.

/// How many slots a Cluster has.
const SLOTS: u16 = 16384;

/// The names of a store's keys: a prefix; in braces what decides the slot; and what is left. Lengths come before what can be
/// any bytes, so that no two keys are one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) prefix: String,
    /// What all keys have in their braces; none where each has its own.
    pub(crate) tag: Option<String>,
    /// Whether slots matter.
    pub(crate) is_cluster: bool,
}

impl Names {
    /// The name of a space's key.
    ///
    /// Without a tag for all, a key's own bytes decide its slot, so that one client's limits in several spaces share it. If
    /// they have a closing brace, what comes before it decides: of the same key it is the same.
    pub(crate) fn of(&self, space: &str, key: &[u8]) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.prefix.len() + space.len() + key.len() + 16);
        name.extend_from_slice(self.prefix.as_bytes());
        name.extend_from_slice(b":{");
        if let Some(tag) = &self.tag {
            name.extend_from_slice(tag.as_bytes());
            name.push(b'}');
        }
        name.extend_from_slice(key.len().to_string().as_bytes());
        name.push(b':');
        name.extend_from_slice(key);
        name.push(if self.tag.is_some() { b':' } else { b'}' });
        name.extend_from_slice(space.as_bytes());
        name
    }

    /// The name of a group of instances.
    pub(crate) fn group(&self, group: &str) -> Vec<u8> {
        let mine = format!("{}:{group}", group.len());
        let prefix = &self.prefix;
        match &self.tag {
            Some(tag) => format!("{prefix}:there:{{{tag}}}{mine}").into_bytes(),
            None => format!("{prefix}:there:{{{mine}}}").into_bytes(),
        }
    }

    /// Under which the instant is kept that all buckets began at.
    pub(crate) fn epoch(&self) -> String {
        format!("{}:began", self.prefix)
    }

    /// The slot of a name; always the same where there are none.
    pub(crate) fn slot(&self, name: &[u8]) -> u16 {
        if !self.is_cluster {
            return 0;
        }
        let tag = name.iter().position(|byte| *byte == b'{').and_then(|open| {
            let rest = &name[open + 1..];
            let close = rest.iter().position(|byte| *byte == b'}')?;
            (close > 0).then_some(&rest[..close])
        });
        checksum(tag.unwrap_or(name)) % SLOTS
    }
}

/// CRC-16 as XMODEM has it: by which a Cluster tells slots.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(
            sum ^ u16::from(*byte) << 8,
            |sum, _| {
                if sum & 0x8000 == 0 { sum << 1 } else { sum << 1 ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tag: Option<&str>) -> Names {
        Names { prefix: "p".into(), tag: tag.map(str::to_owned), is_cluster: true }
    }

    #[test]
    fn a_name_tells_its_parts_by_their_lengths() {
        assert_eq!(names(None).of("day", b"ann"), b"p:{3:ann}day");
        assert_eq!(names(Some("t")).of("day", b"ann"), b"p:{t}3:ann:day");
        for names in [names(None), names(Some("t"))] {
            assert_ne!(names.of("a", b"b}c"), names.of("c}a", b"b"));
            assert_ne!(names.of("", b"12"), names.of("2", b"1"));
        }
    }

    #[test]
    fn a_key_has_one_slot_in_all_spaces() {
        let own = names(None);
        for key in [&b"ann"[..], b"", b"}", b"a}b{", &[0xff]] {
            assert_eq!(own.slot(&own.of("day", key)), own.slot(&own.of("second", key)));
        }
        let one = names(Some("t"));
        assert_eq!(one.slot(&one.of("day", b"ann")), one.slot(&one.of("second", b"bob")));
        // As the specification's example has it.
        assert_eq!(checksum(b"123456789"), 0x31c3);
    }
}
