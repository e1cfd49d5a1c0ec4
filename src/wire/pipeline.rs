//! Which requests of a client the server still owes an answer to.
//!
//! `ReadyForQuery` isn't simply owed once for each Query, FunctionCall and Sync: after an error in
//! the extended protocol the server throws away everything up to the next Sync, and while it copies
//! in it ignores Sync (PostgreSQL manual, "Pipelining" and "COPY Operations";
//! `src/backend/tcop/postgres.c`). So the requests are kept in order, and every answer is matched
//! with the request at the front.

use std::collections::VecDeque;

/// The server's transaction status, from the last `ReadyForQuery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransactionStatus {
    /// `I`: not in a transaction block.
    #[default]
    Idle,
    /// `T`: in a transaction block.
    InTransaction,
    /// `E`: in a failed transaction block.
    Failed,
}

impl TransactionStatus {
    /// The status that the body of a `ReadyForQuery` names.
    pub fn from_byte(byte: u8) -> TransactionStatus {
        match byte {
            b'T' => TransactionStatus::InTransaction,
            b'E' => TransactionStatus::Failed,
            _ => TransactionStatus::Idle,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    /// So many extended-protocol messages, each of which ends in exactly one answer.
    Extended(u32),
    /// A Query or FunctionCall: ends with a `ReadyForQuery` of its own.
    Query,
    /// A Sync.
    Sync,
    /// A CopyDone or CopyFail sent before the server has said that it copies in: no answer.
    CopyEnd,
}

/// Follows requests and answers of one session. Bounded by what the server has not answered yet:
/// consecutive extended messages take one entry.
#[derive(Debug, Default)]
pub struct Pipeline {
    owed: VecDeque<Owed>,
    /// The server throws away what was sent until the next Sync.
    skipping: bool,
    /// The server copies in; only CopyData, CopyDone and CopyFail count.
    copying_in: bool,
    /// Extended messages since the last Sync or Query, and among them Executes.
    batch: Batch,
    status: TransactionStatus,
    extended_sent: u64,
    extended_settled: u64,
    syncs_sent: u64,
    syncs_answered: u64,
    rounds_sent: u64,
    rounds_answered: u64,
}

/// What a client has sent since its last Sync.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Extended-protocol messages of any kind.
    pub messages: u32,
    /// Execute messages.
    pub executes: u32,
}

impl Pipeline {
    /// The transaction status of the last `ReadyForQuery`.
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    /// A plan's own round has ended in this status.
    pub fn set_status(&mut self, status: TransactionStatus) {
        self.status = status;
    }

    /// What was sent since the last Sync.
    pub fn batch(&self) -> Batch {
        self.batch
    }

    /// The server owes nothing, and no batch is open.
    pub fn is_idle(&self) -> bool {
        self.owed.is_empty() && !self.skipping && !self.copying_in && self.batch.messages == 0
    }

    /// The server owes no `ReadyForQuery`; answers to the open batch may be outstanding.
    pub fn is_synced(&self) -> bool {
        self.owed
            .iter()
            .all(|owed| matches!(owed, Owed::Extended(_) | Owed::CopyEnd))
    }

    /// The server throws away what is sent, up to the next Sync, or copies in.
    pub fn is_skipping(&self) -> bool {
        self.skipping || self.copying_in
    }

    /// The server copies in.
    pub fn is_copying_in(&self) -> bool {
        self.copying_in
    }

    /// How many extended-protocol messages were sent so far: the number of the last one.
    pub fn extended_sent(&self) -> u64 {
        self.extended_sent
    }

    /// The number of the last extended-protocol message that was answered, or thrown away by the
    /// server.
    pub fn extended_settled(&self) -> u64 {
        self.extended_settled
    }

    /// How many Syncs were sent that the server answers.
    pub fn syncs_sent(&self) -> u64 {
        self.syncs_sent
    }

    /// How many Syncs the server has answered.
    pub fn syncs_answered(&self) -> u64 {
        self.syncs_answered
    }

    /// How many messages were sent that end in a `ReadyForQuery`.
    pub fn rounds_sent(&self) -> u64 {
        self.rounds_sent
    }

    /// How many of them the server has answered, or thrown away.
    pub fn rounds_answered(&self) -> u64 {
        self.rounds_answered
    }

    /// A Query or FunctionCall was forwarded.
    pub fn sent_query(&mut self) {
        if !self.skipping && !self.copying_in {
            self.owed.push_back(Owed::Query);
            self.rounds_sent += 1;
        }
        // The statement ends the batch's implicit transaction or joins it; either way a Sync may still follow.
    }

    /// A Parse, Bind, Describe, Execute or Close was forwarded.
    pub fn sent_extended(&mut self, is_execute: bool) {
        self.batch.messages = self.batch.messages.saturating_add(1);
        self.batch.executes = self.batch.executes.saturating_add(u32::from(is_execute));
        self.extended_sent += 1;
        if self.skipping || self.copying_in {
            self.extended_settled += 1;
            return;
        }
        match self.owed.back_mut() {
            Some(Owed::Extended(count)) => *count += 1,
            _ => self.owed.push_back(Owed::Extended(1)),
        }
    }

    /// A Flush was forwarded: the batch is still open.
    pub fn sent_flush(&mut self) {
        self.batch.messages = self.batch.messages.saturating_add(1);
    }

    /// A Sync was forwarded.
    pub fn sent_sync(&mut self) {
        if self.copying_in {
            return; // ignored by the server
        }
        self.batch = Batch::default();
        self.skipping = false;
        self.syncs_sent += 1;
        self.rounds_sent += 1;
        self.owed.push_back(Owed::Sync);
    }

    /// A CopyDone or CopyFail was forwarded.
    pub fn sent_copy_end(&mut self) {
        if !self.copying_in && !self.owed.is_empty() && !self.skipping {
            self.owed.push_back(Owed::CopyEnd);
        }
        self.copying_in = false;
    }

    /// A frame of type `tag` came from the server; `body_front` is the first byte of its body.
    pub fn received(&mut self, tag: u8, body_front: u8) {
        match tag {
            b'1' | b'2' | b'3' | b'n' | b'T' | b's' | b'C' | b'I' => self.answered(),
            b'E' => self.failed(),
            b'G' => self.copy_in_started(),
            b'Z' => {
                while let Some(Owed::Extended(_) | Owed::CopyEnd) = self.owed.front() {
                    self.settle_front();
                }
                let ended = self.owed.pop_front();
                self.syncs_answered += u64::from(ended == Some(Owed::Sync));
                self.rounds_answered += u64::from(ended.is_some());
                self.drop_copy_ends();
                self.copying_in = false;
                self.status = TransactionStatus::from_byte(body_front);
            }
            _ => {}
        }
    }

    fn answered(&mut self) {
        if let Some(Owed::Extended(count)) = self.owed.front_mut() {
            *count -= 1;
            self.extended_settled += 1;
            if *count == 0 {
                self.owed.pop_front();
                self.drop_copy_ends();
            }
        }
    }

    /// Strays at the front are owed nothing.
    fn drop_copy_ends(&mut self) {
        while self.owed.front() == Some(&Owed::CopyEnd) {
            self.owed.pop_front();
        }
    }

    /// Takes off the front; what it held of extended messages gets no answer any more.
    fn settle_front(&mut self) {
        if let Some(Owed::Extended(count)) = self.owed.pop_front() {
            self.extended_settled += u64::from(count);
        }
    }

    fn failed(&mut self) {
        self.copying_in = false;
        if !matches!(self.owed.front(), Some(Owed::Extended(_))) {
            return; // an error of a Query or of the Sync's commit: its ReadyForQuery follows
        }
        while self.owed.front().is_some_and(|owed| *owed != Owed::Sync) {
            self.settle_front();
        }
        self.skipping = self.owed.is_empty();
    }

    fn copy_in_started(&mut self) {
        // What follows in the queue, up to the copy's end, is read by the server while it copies:
        // Syncs are ignored, anything else ends the copy with an error.
        let Some(copying) = self.owed.pop_front() else {
            self.copying_in = true;
            return;
        };
        let mut ended = false;
        while let Some(owed) = self.owed.pop_front() {
            match owed {
                Owed::CopyEnd => ended = true,
                Owed::Extended(count) => self.extended_settled += u64::from(count),
                Owed::Sync => {
                    self.syncs_answered += 1;
                    self.rounds_answered += 1;
                }
                Owed::Query => self.rounds_answered += 1,
            }
            if ended {
                break;
            }
        }
        self.copying_in = !ended;
        self.owed.push_front(copying);
        if !ended && matches!(copying, Owed::Extended(_)) {
            self.batch = Batch {
                messages: 1,
                executes: 1,
            }; // and the batch is still open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `>` lines are sent, `<` lines received: `PBDECSQ` messages, `c` copy end, `Z` with its
    /// status.
    fn play(script: &str) -> Pipeline {
        let mut pipeline = Pipeline::default();
        for word in script.split_whitespace() {
            let (direction, rest) = word.split_at(1);
            let bytes = rest.as_bytes();
            match (direction, bytes[0]) {
                (">", b'Q') => pipeline.sent_query(),
                (">", b'S') => pipeline.sent_sync(),
                (">", b'H') => pipeline.sent_flush(),
                (">", b'c') => pipeline.sent_copy_end(),
                (">", other) => pipeline.sent_extended(other == b'E'),
                (_, tag) => pipeline.received(tag, bytes.get(1).copied().unwrap_or(0)),
            }
        }
        pipeline
    }

    #[test]
    fn what_is_idle_and_what_is_not() {
        for (script, idle) in [
            ("", true),
            (">Q", false),
            (">Q <T <C <ZI", true),
            (">P >B >D >E >S <1 <2 <T <C <ZI", true),
            (">P >B >D >E >S <1 <2 <T <C", false),
            (">P <1", false),                             // no Sync yet
            (">P >B >E >S <E <ZI", true),                 // error, then the Sync's answer
            (">P >B >E >Q >S <E <ZI", true),              // the Query was thrown away
            (">P >B >E >Q >S <1 <2 <C <C <ZI", false),    // the Query ran; the Sync is still owed
            (">P >B >E >Q >S <1 <2 <C <E <ZI <ZI", true), // the Query failed: not a batch error
            (">P <E >Q >B >S <ZI", true),                 // sent while the server skips
            (">Q >Q <E <ZI <C <ZT", true), // a failed Query doesn't skip the next one
            (">P >B >E >S <1 <2 <G >c <C", false), // the early Sync was ignored: libpq sends another
            (">P >B >E >S <1 <2 <G >c >S <C <ZI", true),
            (">P >B >E >S <1 <2 <G >S >c >S <C <ZI", true),
            (">P >B >E >c >S <1 <2 <G <C <ZI", true), // all sent ahead
            (">P >B >E >c >S >Q <1 <2 <G <C <ZI", false),
            (">P >B >E >S >c >S <1 <2 <G <C <ZI", true),
            (">Q >c <G <C <ZI", true),
            (">Q >c <C <ZI", true), // a stray CopyDone
            (">Q <G >c <C <ZI", true),
            (">Q <G <E >c <ZI", true),
            (">P >B >E >S >Q <1 <2 <C <E <ZI <C <ZI", true), // the Sync's own commit failed
        ] {
            assert_eq!(play(script).is_idle(), idle, "{script}");
        }
    }

    #[test]
    fn a_batch_that_is_answered_but_not_synced_is_synced_but_not_idle() {
        let pipeline = play(">Q <C <ZT >P >B <1 <2");
        assert!(pipeline.is_synced() && !pipeline.is_idle());
        assert_eq!(pipeline.status(), TransactionStatus::InTransaction);
        assert_eq!(
            pipeline.batch(),
            Batch {
                messages: 2,
                executes: 0
            }
        );
    }

    proptest! {
        #[test]
        fn any_order_of_messages_is_survived(words in proptest::collection::vec("[><][PBDECSQHGcZI123nTs]", 0..64)) {
            let pipeline = play(&words.join(" "));
            prop_assert!(pipeline.extended_settled() <= pipeline.extended_sent());
        }
    }
}
