//! What a server's reply is read as, for the fuzzer.

use sluicegate::store::StoreError;

use crate::job::{Beat, Item, Operation, Request};
use crate::numbers::Numbers;
use crate::said::Said;
use crate::script::Call;

/// What one request was told: how many charges were decided; none of one that is not decided, but counted or done.
pub type Told = Result<Option<usize>, StoreError>;

/// What a reply (RESP) says of requests: which operation each is, and how many charges it has. None if it is no reply.
#[must_use]
pub fn answer(asked: &[(u8, u8)], reply: &[u8]) -> Option<Result<Vec<Told>, StoreError>> {
    let reply = redis::parse_redis_value(reply).ok()?;
    let requests: Vec<Request> = asked.iter().map(|(kind, charges)| request(*kind, *charges)).collect();
    let told = |said: Said| match said {
        Said::Decided { each, .. } => Some(each.len()),
        Said::Count(_) | Said::Done => None,
    };
    let said = Call::new(&requests).read(reply);
    Some(said.map(|said| said.into_iter().map(|one| one.map(told)).collect()))
}

/// How many instances a reply says to be there. None if it is no reply.
#[must_use]
pub fn beat(reply: &[u8]) -> Option<Result<u64, StoreError>> {
    Some(Beat::read(&redis::parse_redis_value(reply).ok()?))
}

fn request(kind: u8, charges: u8) -> Request {
    let operation = match kind % 8 {
        0 => Operation::Take,
        1 => Operation::Peek,
        2 => Operation::Book,
        3 => Operation::TakeUpTo,
        4 => Operation::Put,
        5 => Operation::GiveBack,
        6 => Operation::Owe,
        _ => Operation::Reset,
    };
    let item = |charge: u8| Item { name: vec![charge % 3, charge], quota: Numbers::ANY, n: 1 };
    Request::new(operation, (0..charges).map(item).collect())
}

/// Whether a request of this operation is decided, charge by charge.
#[must_use]
pub const fn is_decided(kind: u8) -> bool {
    kind % 8 < 3
}
