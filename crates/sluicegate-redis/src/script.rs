//! The script, what it is asked, and what it says.

use std::collections::HashMap;

use redis::{Cmd, Script, Value};
use sluicegate::store::StoreError;

use crate::job::{Beat, Operation, Request};
use crate::numbers::Numbers;
use crate::said::{Kind, Said, Standing};

/// How many instances a group can have.
const INSTANCES_MAX: u64 = 4096;

/// A script: its text, and the hash by which a server knows it.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: &'static str,
    pub(crate) hash: String,
}

/// The scripts.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) buckets: Text,
    pub(crate) presence: Text,
}

impl Scripts {
    /// On the server's time, or on one that is told, for tests.
    pub(crate) fn new(is_virtual: bool) -> Self {
        macro_rules! text {
            ($($file:literal),*) => {{
                const SERVER: &str = concat!(include_str!("script/clock.lua"), $(include_str!($file)),*);
                const VIRTUAL: &str = concat!(include_str!("script/virtual.lua"), $(include_str!($file)),*);
                let text = if is_virtual { VIRTUAL } else { SERVER };
                Text { text, hash: Script::new(text).get_hash().to_owned() }
            }};
        }
        Self {
            buckets: text!("script/arithmetic.lua", "script/buckets.lua"),
            presence: text!("script/presence.lua"),
        }
    }
}

/// What a script is asked with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given<'g> {
    /// `EVALSHA` and a hash, or `EVAL` and the text.
    pub(crate) command: &'static str,
    pub(crate) script: &'g str,
    /// A test's time, in microseconds.
    pub(crate) now: Option<u64>,
    /// When all buckets began.
    pub(crate) epoch: u64,
    /// By which command it tells that something was put.
    pub(crate) publish: &'static str,
}

impl Given<'_> {
    /// A command on these keys.
    fn on<'k>(&self, names: impl ExactSizeIterator<Item = &'k [u8]>) -> Cmd {
        let mut command = redis::cmd(self.command);
        command.arg(self.script).arg(names.len());
        for name in names {
            command.arg(name);
        }
        if let Some(now) = self.now {
            command.arg(now);
        }
        command
    }
}

impl Beat {
    pub(crate) fn command(&self, given: Given<'_>) -> Cmd {
        let mut command = given.on([self.group.as_slice()].into_iter());
        command.arg(self.instance.as_slice()).arg(self.lives).arg(INSTANCES_MAX);
        command
    }

    /// How many are there.
    pub(crate) fn read(answer: &Value) -> Result<u64, StoreError> {
        match answer {
            Value::Int(-1) => {
                let expected = format!("one of at most {INSTANCES_MAX} instances, which it has");
                Err(StoreError::unsupported("group", "of this name", expected))
            }
            Value::Int(count) => u64::try_from(*count).map_err(|_| Call::invalid(answer)),
            _ => Err(Call::invalid(answer)),
        }
    }
}

/// What goes to one node in one call.
#[derive(Debug)]
pub(crate) struct Call {
    /// The keys, each once.
    names: Vec<Vec<u8>>,
    quotas: Vec<Numbers>,
    /// As the script reads them: numbers that need not be made of text cost it a third.
    requests: Vec<u8>,
    /// Of each request what it is, and the places of its keys.
    asked: Vec<(Operation, Vec<usize>)>,
}

impl Call {
    /// All these requests, in order.
    pub(crate) fn new<'r>(requests: impl IntoIterator<Item = &'r Request>) -> Self {
        let mut call =
            Self { names: Vec::new(), quotas: Vec::new(), requests: Vec::new(), asked: Vec::new() };
        let (mut names, mut quotas) = (HashMap::new(), HashMap::new());
        for request in requests {
            call.requests.push(request.operation.code());
            call.requests.extend_from_slice(&double(request.longest));
            call.requests.extend_from_slice(&place(request.items.len()));
            let mut places = Vec::with_capacity(request.items.len());
            for item in &request.items {
                let name = *names.entry(item.name.as_slice()).or_insert_with(|| {
                    call.names.push(item.name.clone());
                    call.names.len()
                });
                let quota = *quotas.entry(item.quota).or_insert_with(|| {
                    call.quotas.push(item.quota);
                    call.quotas.len()
                });
                call.requests.extend_from_slice(&place(name));
                call.requests.extend_from_slice(&place(quota));
                call.requests.extend_from_slice(&double(item.n));
                places.push(name - 1);
            }
            call.asked.push((request.operation, places));
        }
        call
    }

    /// Whether it matters when all buckets began.
    pub(crate) fn needs_epoch(&self) -> bool {
        self.quotas.iter().any(Numbers::needs_epoch)
    }

    /// As a command.
    pub(crate) fn command(&self, given: Given<'_>) -> Cmd {
        let mut command = given.on(self.names.iter().map(Vec::as_slice));
        command.arg(given.epoch).arg(given.publish).arg(self.requests.as_slice());
        for quota in &self.quotas {
            command.arg(quota.packed());
        }
        command
    }

    /// What the answer says of each request. What does not belong there makes all of it invalid.
    pub(crate) fn read(&self, answer: Value) -> Result<Vec<Result<Said, StoreError>>, StoreError> {
        let Value::Array(values) = answer else { return Err(Self::invalid(&answer)) };
        let mut numbers = Numbered { values: values.into_iter() };
        let mut said = Vec::with_capacity(self.asked.len());
        for (operation, places) in &self.asked {
            said.push(match numbers.next()? {
                0 => Ok(numbers.said(*operation, places.len())?),
                wrong @ (1 | 2) => {
                    let place = usize::try_from(numbers.next()?).ok().and_then(|place| places.get(place));
                    let Some(&place) = place else { return Err(Self::invalid(&Value::Int(wrong))) };
                    let what = if wrong == 1 { "what is not a string" } else { "a string that is no bucket" };
                    let name = String::from_utf8_lossy(&self.names[place]).escape_debug().to_string();
                    Err(StoreError::Foreign { name, what: what.to_owned() })
                }
                other => return Err(Self::invalid(&Value::Int(other))),
            });
        }
        match numbers.values.next() {
            None => Ok(said),
            Some(more) => Err(Self::invalid(&more)),
        }
    }

    fn invalid(value: &Value) -> StoreError {
        let what =
            format!("its script's answer has {value:?} where that has no meaning: is it another version's?");
        StoreError::Broken { what, cause: None }
    }
}

/// A number as the script reads it. All are below 2^53.
#[expect(clippy::cast_precision_loss, reason = "a double holds all whole numbers below 2^53")]
const fn double(number: u64) -> [u8; 8] {
    (number as f64).to_le_bytes()
}

/// A place, from 1, or a count, as the script reads it; of one that is too large the script knows nothing.
fn place(place: usize) -> [u8; 4] {
    u32::try_from(place).unwrap_or(u32::MAX).to_le_bytes()
}

/// An answer's numbers, one after the other.
struct Numbered {
    values: std::vec::IntoIter<Value>,
}

impl Numbered {
    fn next(&mut self) -> Result<i64, StoreError> {
        match self.values.next() {
            Some(Value::Int(number)) => Ok(number),
            Some(other) => Err(Call::invalid(&other)),
            None => Err(Call::invalid(&Value::Nil)),
        }
    }

    /// One that is not negative.
    fn count(&mut self) -> Result<u64, StoreError> {
        let number = self.next()?;
        u64::try_from(number).map_err(|_| Call::invalid(&Value::Int(number)))
    }

    /// One that may be missing.
    fn perhaps(&mut self) -> Result<Option<u64>, StoreError> {
        match self.next()? {
            -1 => Ok(None),
            number => u64::try_from(number).map(Some).map_err(|_| Call::invalid(&Value::Int(number))),
        }
    }

    fn said(&mut self, operation: Operation, charges: usize) -> Result<Said, StoreError> {
        Ok(match operation {
            Operation::Take | Operation::Peek | Operation::Book => {
                let due = self.count()?;
                let each = (0..charges).map(|_| self.standing()).collect::<Result<_, _>>()?;
                Said::Decided { due, each }
            }
            Operation::TakeUpTo | Operation::Put => Said::Count(self.count()?),
            Operation::GiveBack | Operation::Owe | Operation::Reset => Said::Done,
        })
    }

    fn standing(&mut self) -> Result<Standing, StoreError> {
        let kind = match self.next()? {
            0 => Kind::Granted,
            1 => Kind::Later,
            2 => Kind::Never,
            other => return Err(Call::invalid(&Value::Int(other))),
        };
        let (remaining, retry_after, reset_after) = (self.count()?, self.perhaps()?, self.perhaps()?);
        Ok(Standing { kind, remaining, retry_after, reset_after })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redis::Arg;

    use super::*;
    use crate::job::Item;

    fn call() -> Call {
        let quota = Numbers::of(&"10/s".parse().unwrap()).unwrap();
        let item = |name: &[u8]| Item { name: name.to_vec(), quota, n: 1 };
        let decide = Request::new(Operation::Take, vec![item(b"a"), item(b"b")]);
        let count = Request::new(Operation::Put, vec![item(b"b")]);
        Call::new([&decide, &count])
    }

    #[test]
    fn a_key_and_a_quota_are_sent_once() {
        let command = {
            let (command, script, publish) = ("EVALSHA", "hash", "PUBLISH");
            call().command(Given { command, script, now: None, epoch: 7, publish })
        };
        let words: Vec<Vec<u8>> = command
            .args_iter()
            .map(|arg| match arg {
                Arg::Simple(word) => word.to_vec(),
                _ => panic!("no word"),
            })
            .collect();
        let (one, two, number) = ([1, 0, 0, 0], [2, 0, 0, 0], 1.0_f64.to_le_bytes());
        let first = [&[0][..], &[0; 8], &two, &one, &one, &number, &two, &one, &number].concat();
        let second = [&[4][..], &[0; 8], &one, &two, &one, &number].concat();
        let expected: [&[u8]; 9] = [
            b"EVALSHA",
            b"hash",
            b"2",
            b"a",
            b"b",
            b"7",
            b"PUBLISH",
            &[first, second].concat(),
            &[1, 10, 10, 1, 0xce, 0, 1, 0x86, 0xa0],
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn an_answer_is_read_request_by_request() {
        let numbers =
            |numbers: &[i64]| Value::Array(numbers.iter().map(|number| Value::Int(*number)).collect());
        let said = call().read(numbers(&[0, 5, 0, 9, -1, 100, 1, 0, 7, -1, 0, 3])).unwrap();
        let standing = |kind, remaining, retry_after, reset_after| Standing {
            kind,
            remaining,
            retry_after,
            reset_after,
        };
        let each = vec![standing(Kind::Granted, 9, None, Some(100)), standing(Kind::Later, 0, Some(7), None)];
        assert_eq!(said[0].as_ref().unwrap(), &Said::Decided { due: 5, each });
        assert_eq!(said[1].as_ref().unwrap(), &Said::Count(3));
        let said = call().read(numbers(&[2, 1, 0, 3])).unwrap();
        assert!(
            said[0].as_ref().unwrap_err().to_string().starts_with("`b` holds a string that is no bucket")
        );
        assert!(call().read(numbers(&[0, 5, 0, 9, -1, 100, 1, 0, 7, -1, 0, 3, 3])).is_err(), "too many");
        assert!(call().read(numbers(&[2, 2, 0, 3])).is_err(), "there is no third charge");
    }

    proptest! {
        #[test]
        fn no_answer_breaks_it(numbers in prop::collection::vec(prop_oneof![-2..4_i64, any::<i64>()], 0..20), text: bool) {
            let mut values: Vec<Value> = numbers.into_iter().map(Value::Int).collect();
            if text {
                values.push(Value::SimpleString("x".into()));
            }
            drop(call().read(Value::Array(values)));
        }
    }
}
