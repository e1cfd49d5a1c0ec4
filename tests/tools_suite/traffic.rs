//! Applications at work while a phase runs: one reads, one changes and one adds rows, a statement at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::unique;
use crate::side::{Side, rows};
use crate::wire::{Wire, sqlstate};

/// What an application rests between two statements.
const REST: Duration = Duration::from_millis(2);

/// What a migration may do to a statement: make its table or column unknown for a moment, or end it in a deadlock.
const EXPECTED: [&str; 4] = ["", "42P01", "42703", "40P01"];

/// Statements for a row of the fill: `%k` stands for its id. They change nothing that is compared.
const READS: &[&str] = &[
    "SELECT id, email, name FROM users WHERE id = %k",
    "SELECT id, total, state FROM orders WHERE id = %k",
    "SELECT id, name FROM accounts WHERE id = %k",
    "SELECT id, sku, price FROM products WHERE id = %k",
    "SELECT id, kind FROM events WHERE id = %k",
];
const CHANGES: &[&str] = &[
    "UPDATE users SET age = age WHERE id = %k",
    "UPDATE orders SET state = state WHERE id = %k",
    "UPDATE accounts SET active = active WHERE id = %k",
    "UPDATE products SET price = price WHERE id = %k",
    "UPDATE events SET kind = kind WHERE id = %k",
];
/// The columns that the fill sets; `%n` is another number every time.
const ADDS: &[&str] = &[
    "INSERT INTO users (account_id, email, name, age) VALUES (%k, 'traffic%n@example.com', 'Traffic %n', 40)",
    "INSERT INTO orders (user_id, total, state) VALUES (%k, 1.5, 'new')",
    "INSERT INTO accounts (name, email) VALUES ('Traffic %n', 'traffic%n@example.com')",
    "INSERT INTO products (sku, title, price) VALUES ('TRAFFIC-%n', 'Traffic %n', 2.5)",
    "INSERT INTO events (user_id, kind) VALUES (%k, 'view')",
];

/// The applications.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Duration>>,
}

impl Traffic {
    /// Has them begin, the way the side's tool goes.
    pub(crate) fn start(side: &Side) -> Traffic {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = [READS, CHANGES, ADDS].map(|statements| {
            let session = Wire::session(&side.place, &side.database);
            let stop = Arc::clone(&stop);
            thread::spawn(move || work(session, statements, &stop))
        });
        Traffic {
            stop,
            threads: threads.into(),
        }
    }

    /// Has them end; how long one of their statements took at worst.
    pub(crate) fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let worst = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap());
        worst.max().unwrap_or_default()
    }
}

/// Works until it is told to stop.
fn work(mut session: Wire, statements: &[&str], stop: &AtomicBool) -> Duration {
    let mut worst = Duration::ZERO;
    for (turn, statement) in (0_u32..).zip(statements.iter().cycle()) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = 1 + turn.wrapping_mul(7919) % rows();
        let sql = statement
            .replace("%k", &id.to_string())
            .replace("%n", &unique().to_string());
        let began = Instant::now();
        let frames = session.query(&sql);
        worst = worst.max(began.elapsed());
        let sqlstate = sqlstate(&frames);
        assert!(EXPECTED.contains(&sqlstate.as_str()), "{sql}: {frames:?}");
        assert_eq!(frames.last().map(|frame| frame.tag), Some(b'Z'), "{sql}");
        thread::sleep(REST);
    }
    worst
}
