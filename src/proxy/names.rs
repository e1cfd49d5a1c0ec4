//! Prepared statements and portals of a session that stand for schema changes; all others aren't
//! kept. SQL's `PREPARE` and the protocol's Parse share one space of names.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::sql::classify::{Class, Text};
use crate::sql::statement::Statement;

/// Names that are kept for one session, and the bytes of their texts.
const MAX_NAMES: usize = 256;
const MAX_KEPT_BYTES: usize = 4 << 20;

/// The names of one session.
#[derive(Debug, Default)]
pub struct Names {
    statements: HashMap<Box<[u8]>, Arc<Text>>,
    portals: HashMap<Box<[u8]>, Portal>,
    /// Parse and Close messages that the server has not answered yet, and may refuse.
    unsettled: VecDeque<Unsettled>,
    /// Names of DEALLOCATE statements that the server has not done yet.
    deallocating: VecDeque<Box<[u8]>>,
}

#[derive(Debug)]
struct Portal {
    text: Arc<Text>,
    /// How many Syncs had been sent before its Bind.
    syncs_before: u64,
}

/// A Parse or Close that may still fail, or be thrown away by the server.
#[derive(Debug)]
struct Unsettled {
    /// Its number among the extended-protocol messages.
    number: u64,
    name: Box<[u8]>,
    /// What the name was before.
    before: Option<Arc<Text>>,
}

impl Names {
    /// No name stands for a schema change.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.portals.is_empty()
    }

    /// Whether there is room for one more text.
    pub fn has_room_for(&self, text: &Text) -> bool {
        let kept: usize = self.statements.values().map(|text| text.text.len()).sum();
        self.statements.len() < MAX_NAMES && kept + text.text.len() <= MAX_KEPT_BYTES
    }

    /// Parse number `number` gives a name to a schema change, or to something else (`None`).
    pub fn parsed(&mut self, name: &[u8], text: Option<Arc<Text>>, number: u64) {
        let before = match text {
            Some(text) => self.statements.insert(name.into(), text),
            None if self.statements.is_empty() => return,
            None => match self.statements.remove(name) {
                None => return,
                before => before,
            },
        };
        self.unsettled.push_back(Unsettled {
            number,
            name: name.into(),
            before,
        });
    }

    /// Close number `number` names a statement.
    pub fn closed_statement(&mut self, name: &[u8], number: u64) {
        if let Some(text) = self.statements.remove(name) {
            self.unsettled.push_back(Unsettled {
                number,
                name: name.into(),
                before: Some(text),
            });
        }
    }

    /// Close names a portal.
    pub fn closed_portal(&mut self, name: &[u8]) {
        self.portals.remove(name);
    }

    /// Bind makes a portal of a statement, after so many Syncs.
    pub fn bound(&mut self, portal: &[u8], statement: &[u8], syncs_before: u64) {
        match self.statements.get(statement) {
            Some(text) if self.portals.len() < MAX_NAMES => {
                let text = Arc::clone(text);
                self.portals
                    .insert(portal.into(), Portal { text, syncs_before });
            }
            _ => drop(self.portals.remove(portal)),
        }
    }

    /// The schema change that a portal runs.
    pub fn portal(&self, name: &[u8]) -> Option<Arc<Text>> {
        self.portals
            .get(name)
            .map(|portal| Arc::clone(&portal.text))
    }

    /// The schema change that a statement is.
    pub fn statement(&self, name: &[u8]) -> Option<&Arc<Text>> {
        self.statements.get(name)
    }

    /// A Query or FunctionCall goes on: it destroys the unnamed statement and portal.
    pub fn query_sent(&mut self) {
        self.statements.remove(&b""[..]);
        self.portals.remove(&b""[..]);
    }

    /// `PREPARE name AS …` and `DEALLOCATE` in a text that goes on.
    pub fn follow(&mut self, text: &Text) {
        for parsed in &text.statements {
            match &parsed.statement {
                Statement::Prepare { name, inner } if self.has_room_for(text) => {
                    let mut inner_parsed = parsed.clone();
                    inner_parsed.statement = (**inner).clone();
                    let inner = Text {
                        statements: vec![inner_parsed],
                        class: Class::Ddl,
                        ..text.clone()
                    };
                    self.statements
                        .insert(name.as_bytes().into(), Arc::new(inner));
                }
                Statement::Deallocate { name: Some(name) } => {
                    if self.statements.contains_key(name.as_bytes()) {
                        self.deallocating.push_back(name.as_bytes().into());
                    }
                }
                Statement::CreateIndex(_)
                | Statement::DropIndex(_)
                | Statement::Reindex(_)
                | Statement::AlterTable(_)
                | Statement::CreateTable(_)
                | Statement::Drop(_)
                | Statement::Rename(_)
                | Statement::Other(_)
                | Statement::Unreadable { .. }
                | Statement::Prepare { .. }
                | Statement::Execute { .. }
                | Statement::Deallocate { name: None }
                | Statement::Dynamic { .. }
                | Statement::Harmless => {}
            }
        }
    }

    /// The server has done what a DEALLOCATE asked for.
    pub fn deallocated(&mut self) {
        if let Some(name) = self.deallocating.pop_front() {
            self.statements.remove(&name);
        }
    }

    /// The server owes nothing: a DEALLOCATE that isn't done has failed.
    pub fn all_answered(&mut self) {
        self.deallocating.clear();
    }

    /// The server has forgotten all prepared statements.
    pub fn forget_statements(&mut self) {
        self.statements.clear();
    }

    /// The server has answered, or thrown away, the extended messages up to number `settled`, the
    /// last one with a message of type `tag`: names whose Parse or Close came to nothing are put
    /// back.
    pub fn settled(&mut self, settled: u64, tag: u8) {
        while let Some(first) = self.unsettled.front()
            && first.number <= settled
            && let Some(Unsettled {
                number,
                name,
                before,
            }) = self.unsettled.pop_front()
        {
            if number == settled && matches!(tag, b'1' | b'3') {
                continue; // ParseComplete, CloseComplete
            }
            match before {
                Some(text) => self.statements.insert(name, text),
                None => self.statements.remove(&name),
            };
        }
    }

    /// The server stands outside a transaction after so many Syncs: portals bound before the last
    /// of them are closed.
    pub fn transaction_ended(&mut self, syncs_answered: u64) {
        self.portals
            .retain(|_, portal| portal.syncs_before >= syncs_answered);
    }
}
