//! What is kept of a body, and who has read how far: a machine without locks, wakers or the body itself.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The largest piece that is handed out of what is kept. It is copied, so that nobody holds the buffer.
const PIECE: usize = 16 * 1024;

/// What a trailer takes in a map beside its text, in bytes: about, and not less.
const ENTRY: usize = 128;

/// Who reads: a number.
pub(super) type Id = usize;

/// What a reader is to get.
#[derive(Debug)]
pub(super) enum Turn {
    /// From what is kept.
    Piece(Vec<u8>),
    /// From the body itself: this reader has read as far as anybody.
    Live,
    Trailers(HeaderMap),
    Over,
    /// What it was to read next is gone.
    Behind,
    /// The body has failed, and somebody else was told.
    Broken,
}

#[derive(Debug)]
struct Reader {
    /// How many bytes it has read.
    read: u64,
    /// What it was to read next is gone.
    lost: bool,
    /// It has read all.
    done: bool,
}

/// Whether more comes.
#[derive(Debug)]
enum End {
    Open,
    Ended(Option<HeaderMap>),
    Broken,
}

/// All bytes from some place on, up to as far as anybody has read; nothing that nobody needs.
#[derive(Debug)]
pub(super) struct Book {
    /// The most that may be kept, in bytes.
    bound: usize,
    /// Its capacity is never over the bound.
    bytes: Vec<u8>,
    /// How many bytes were there before those.
    gone: u64,
    end: End,
    /// By their number.
    readers: Vec<Option<Reader>>,
    /// How many may still begin another reader.
    keepers: usize,
    /// Another reader can't begin any more: what it would read first is gone, or the body has failed.
    spent: bool,
}

impl Book {
    /// Of a body that nobody has read of, with one reader, which has the number 0.
    pub(super) fn new(bound: usize) -> Self {
        let first = Reader { read: 0, lost: false, done: false };
        Self {
            bound,
            bytes: Vec::new(),
            gone: 0,
            end: End::Open,
            readers: vec![Some(first)],
            keepers: 0,
            spent: false,
        }
    }

    /// How much is kept, in bytes of memory.
    pub(super) fn held(&self) -> usize {
        let trailers = match &self.end {
            End::Ended(Some(trailers)) => size(trailers),
            _ => 0,
        };
        self.bytes.capacity() + trailers
    }

    /// As far as anybody has read.
    fn live(&self) -> u64 {
        self.gone + self.bytes.len() as u64
    }

    /// One more who may begin readers; false if that can't be any more, or if so many bytes that are known to come can't be kept.
    pub(super) fn keep(&mut self, to_come: u64) -> bool {
        let fits = self.live().saturating_add(to_come) <= self.bound as u64;
        let can = fits && self.gone == 0 && !self.spent;
        self.keepers += usize::from(can);
        can
    }

    /// One fewer.
    pub(super) fn let_go(&mut self) {
        self.keepers = self.keepers.saturating_sub(1);
        self.tidy();
    }

    /// Another reader from the beginning, where that is still there.
    pub(super) fn open(&mut self) -> Option<Id> {
        if self.spent {
            return None;
        }
        let reader = Some(Reader { read: 0, lost: false, done: false });
        let free = self.readers.iter().position(Option::is_none);
        let id = free.unwrap_or(self.readers.len());
        match free {
            Some(place) => self.readers[place] = reader,
            None => self.readers.push(reader),
        }
        Some(id)
    }

    pub(super) fn close(&mut self, id: Id) {
        if let Some(reader) = self.readers.get_mut(id) {
            *reader = None;
        }
        self.tidy();
    }

    /// Whether this is the only reader.
    pub(super) fn is_alone(&self) -> bool {
        self.readers.iter().flatten().count() <= 1
    }

    /// What a reader is to get next. It has read it then.
    pub(super) fn turn(&mut self, id: Id) -> Turn {
        let (live, gone, is_last) = (self.live(), self.gone, self.is_alone() && self.needs_no_start());
        let Some(Some(reader)) = self.readers.get_mut(id) else { return Turn::Over };
        if reader.done {
            return Turn::Over;
        }
        if reader.lost {
            reader.done = true;
            return Turn::Behind;
        }
        if reader.read < live {
            let from = usize::try_from(reader.read - gone).unwrap_or(usize::MAX);
            let rest = self.bytes.get(from..).unwrap_or_default();
            let piece = rest[..rest.len().min(PIECE)].to_vec();
            reader.read += piece.len() as u64;
            self.tidy();
            return Turn::Piece(piece);
        }
        let turn = match &mut self.end {
            End::Open => return Turn::Live,
            End::Broken => Turn::Broken,
            End::Ended(trailers) => {
                let trailers = if is_last { trailers.take() } else { trailers.clone() };
                trailers.map_or(Turn::Over, Turn::Trailers)
            }
        };
        reader.done = true;
        self.tidy();
        turn
    }

    /// Whether a reader gets nothing more; `ended` is what the body says of itself.
    pub(super) fn is_over(&self, id: Id, ended: bool) -> bool {
        let Some(Some(reader)) = self.readers.get(id) else { return true };
        let over = match &self.end {
            End::Open => ended,
            End::Ended(trailers) => trailers.is_none(),
            End::Broken => false,
        };
        reader.done || (over && !reader.lost && reader.read == self.live())
    }

    /// How many bytes a reader has still to read of those that somebody has read.
    pub(super) fn behind(&self, id: Id) -> u64 {
        let reader = self.readers.get(id).and_then(Option::as_ref);
        reader.map_or(0, |reader| self.live().saturating_sub(reader.read))
    }

    /// A reader gets these from the body itself. Keeps them if anybody else needs them.
    pub(super) fn data(&mut self, id: Id, data: &[u8]) {
        let live = self.live() + data.len() as u64;
        self.make_room(id, data.len());
        if self.needs_no_start() && self.others(id).next().is_none() {
            self.bytes = Vec::new();
            self.gone = live;
        } else {
            self.append(data);
        }
        if let Some(Some(reader)) = self.readers.get_mut(id) {
            reader.read = live;
        }
    }

    /// A reader has found the end, and gets the trailers if there are any: the others get copies, which keep nothing else alive.
    pub(super) fn ended(&mut self, id: Id, trailers: Option<&HeaderMap>) {
        if let Some(Some(reader)) = self.readers.get_mut(id) {
            reader.done = true;
        }
        if let Some(trailers) = trailers {
            self.make_room(id, size(trailers));
            self.bytes.shrink_to_fit();
        }
        let needed = !self.needs_no_start() || self.others(id).next().is_some();
        self.end = End::Ended(trailers.filter(|_| needed).map(copied));
        self.tidy();
    }

    /// The body has failed, and whoever read was told.
    pub(super) fn broke(&mut self, id: Id) {
        if let Some(Some(reader)) = self.readers.get_mut(id) {
            reader.done = true;
        }
        self.spent = true;
        self.end = End::Broken;
        self.gone = self.live();
        self.bytes = Vec::new();
        // Nobody can read all of it any more.
        for reader in self.readers.iter_mut().flatten() {
            reader.read = self.gone;
        }
    }

    /// Nobody will begin at the beginning.
    const fn needs_no_start(&self) -> bool {
        self.keepers == 0 || self.spent
    }

    /// Those who may still read something, but this one.
    fn others(&self, id: Id) -> impl Iterator<Item = &Reader> {
        let others = self.readers.iter().enumerate().filter(move |(other, _)| *other != id);
        others.filter_map(|(_, reader)| reader.as_ref()).filter(|reader| !reader.done && !reader.lost)
    }

    /// So much more is to be kept: whoever would need more than the bound in all has lost.
    fn make_room(&mut self, id: Id, more: usize) {
        let least = (self.live() + more as u64).saturating_sub(self.bound as u64);
        self.spent |= self.keepers > 0 && least > 0;
        for (other, reader) in self.readers.iter_mut().enumerate() {
            if let Some(reader) = reader.as_mut().filter(|reader| other != id && !reader.done) {
                reader.lost |= reader.read < least;
            }
        }
        if self.bytes.len().saturating_add(more) > self.bound {
            // Nobody needs the beginning any more, or all would have fitted.
            let first = self.others(id).map(|reader| reader.read).min().unwrap_or_else(|| self.live());
            let read = usize::try_from(first.saturating_sub(self.gone)).unwrap_or(usize::MAX);
            let read = read.min(self.bytes.len());
            self.bytes.drain(..read);
            self.gone += read as u64;
        }
    }

    /// Grows to twice as much, and never over the bound.
    fn append(&mut self, data: &[u8]) {
        let needed = self.bytes.len() + data.len();
        if needed > self.bytes.capacity() {
            let grown = self.bytes.capacity().saturating_mul(2).clamp(needed, self.bound.max(needed));
            self.bytes.reserve_exact(grown - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
    }

    /// Lets go of what nobody needs.
    fn tidy(&mut self) {
        if !self.needs_no_start() {
            return;
        }
        let live = self.live();
        let mut reading = self.readers.iter().flatten().filter(|reader| !reader.done && !reader.lost);
        if reading.clone().all(|reader| reader.read == live) {
            self.gone = live;
            if reading.clone().count() > 1 {
                self.bytes.clear();
            } else {
                self.bytes = Vec::new();
            }
        }
        if let End::Ended(trailers) = &mut self.end
            && reading.next().is_none()
        {
            *trailers = None;
        }
    }
}

/// What trailers take, in bytes.
fn size(trailers: &HeaderMap) -> usize {
    trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + ENTRY).sum()
}

/// With memory of their own: text of a map may be a part of what was read from a connection.
fn copied(trailers: &HeaderMap) -> HeaderMap {
    let mut copy = HeaderMap::with_capacity(trailers.len());
    for (name, value) in trailers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let copied = HeaderValue::from_bytes(value.as_bytes());
        // Both were valid.
        if let (Ok(name), Ok(mut copied)) = (name, copied) {
            copied.set_sensitive(value.is_sensitive());
            copy.append(name, copied);
        }
    }
    copy
}
