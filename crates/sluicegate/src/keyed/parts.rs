//! A key of several parts as bytes.

/// Hands the bytes of a key of several parts, each of which may be absent, to `write`, piece by piece. Each part is preceded
/// by its length plus one (in base 128, lowest digits first, the top bit set on all but the last), an absent part is a zero:
/// no two lists of parts are the same bytes, and none is the beginning of another of as many parts.
pub(crate) fn encode<'a>(parts: impl IntoIterator<Item = Option<&'a [u8]>>, mut write: impl FnMut(&[u8])) {
    for part in parts {
        let mut length = part.map_or(0, |part| part.len() + 1);
        let (mut digits, mut used) = ([0_u8; 10], 0);
        loop {
            let more = length >= 1 << 7;
            #[expect(clippy::cast_possible_truncation, reason = "masked to seven bits")]
            let digit = (length & 0x7f) as u8;
            digits[used] = digit | u8::from(more) << 7;
            (length, used) = (length >> 7, used + 1);
            if !more {
                break;
            }
        }
        write(&digits[..used]);
        if let Some(part) = part {
            write(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(parts: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(parts.iter().copied(), |piece| bytes.extend_from_slice(piece));
        bytes
    }

    #[test]
    fn a_part_is_preceded_by_its_length() {
        assert_eq!(bytes(&[Some(b"a"), Some(b"bc"), None, Some(b"")]), [2, b'a', 3, b'b', b'c', 0, 1]);
        let long = [7_u8; 300];
        assert_eq!(bytes(&[Some(&long)])[..3], [0xad, 2, 7], "301 is 0b10_0101101");
        assert_eq!(bytes(&[Some(&[7; 126])])[..2], [127, 7]);
        assert_eq!(bytes(&[Some(&[7; 127])])[..3], [0x80, 1, 7]);
    }
}
