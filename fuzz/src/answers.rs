//! What a store in Redis reads of a server's reply.

use sluicegate_redis::fuzzed;

/// How many requests are asked at one time, at the most.
const REQUESTS: u8 = 8;

/// How many charges a request has, at the most.
const CHARGES: u8 = 5;

/// A byte that says how many requests there are; of each two bytes, what it is and how many charges it has; and the reply.
pub fn answers(data: &[u8]) {
    let Some((&count, rest)) = data.split_first() else { return };
    let Some((asked, reply)) = rest.split_at_checked(2 * usize::from(count % REQUESTS)) else { return };
    let asked: Vec<(u8, u8)> = asked.chunks_exact(2).map(|one| (one[0], one[1] % CHARGES)).collect();
    match fuzzed::answer(&asked, reply) {
        None => {}
        Some(Err(error)) => assert!(!error.to_string().is_empty(), "an error without words"),
        Some(Ok(told)) => {
            assert_eq!(told.len(), asked.len(), "each is told something");
            for ((kind, charges), told) in asked.iter().zip(told) {
                match told {
                    Ok(decided) => {
                        let expected = fuzzed::is_decided(*kind).then_some(usize::from(*charges));
                        assert_eq!(decided, expected, "an operation {kind} on {charges}");
                    }
                    Err(error) => assert!(!error.is_outage(), "the server has answered: {error}"),
                }
            }
        }
    }
    if let Some(Err(error)) = fuzzed::beat(reply) {
        assert!(!error.to_string().is_empty(), "an error without words");
    }
}
