//! Which operations there are, and by what they are found.

use std::collections::HashMap;
use std::sync::Arc;

use sluicegate_core::shelf::{Serial, Shelf};

use super::key::Hashed;
use super::settings::{Refused, Settings};
use super::status::{Id, Operation};
use crate::timer::Timer;

/// All that are there, running or ended.
pub(super) struct Table<R, T: Timer> {
    pub(super) shelf: Shelf<Arc<Operation<R, T>>>,
    ids: HashMap<Id, Serial>,
    keys: HashMap<u128, Keyed>,
    /// Tasks that have not ended.
    pub(super) tasks: usize,
    pub(super) is_closed: bool,
}

/// What was started under a key.
struct Keyed {
    id: Id,
    request: Option<u64>,
}

/// What becomes of whoever wants to start one.
pub(super) enum Admitted {
    New(Serial),
    /// It was started before.
    Known(Id),
}

impl<R, T: Timer> Table<R, T> {
    pub(super) fn new(settings: &Settings) -> Self {
        let (ids, keys) = (HashMap::new(), HashMap::new());
        Self { shelf: Shelf::new(settings.shelf), ids, keys, tasks: 0, is_closed: false }
    }

    pub(super) fn find(&self, id: Id) -> Option<Arc<Operation<R, T>>> {
        self.shelf.get(*self.ids.get(&id)?).map(Arc::clone)
    }

    pub(super) fn sweep(&mut self, now: u64) -> Vec<Arc<Operation<R, T>>> {
        let gone = self.shelf.sweep(now);
        self.forget(&gone);
        gone
    }

    /// Whether one more is started. What has to go for it comes to `gone`.
    pub(super) fn admit(
        &mut self,
        operation: &Arc<Operation<R, T>>,
        key: Option<Hashed>,
        now: u64,
        gone: &mut Vec<Arc<Operation<R, T>>>,
        settings: &Settings,
    ) -> Result<Admitted, Refused> {
        if let Some(key) = key
            && let Some(known) = self.keys.get(&key.who)
        {
            let is_same = known.request == key.request;
            return if is_same { Ok(Admitted::Known(known.id)) } else { Err(Refused::OtherRequest) };
        }
        if self.is_closed {
            return Err(Refused::Closed);
        }
        let Ok((serial, evicted)) = self.shelf.begin(Arc::clone(operation), now) else {
            return Err(Refused::Full { most: settings.shelf.most(), retry_after: settings.retry_after });
        };
        self.forget(&evicted);
        gone.extend(evicted);
        self.ids.insert(operation.id, serial);
        if let Some(Hashed { who, request }) = key {
            self.keys.insert(who, Keyed { id: operation.id, request });
        }
        self.tasks += 1;
        Ok(Admitted::New(serial))
    }

    fn forget(&mut self, gone: &[Arc<Operation<R, T>>]) {
        for operation in gone {
            self.ids.remove(&operation.id);
            if let Some(key) = operation.key {
                self.keys.remove(&key);
            }
        }
    }
}
