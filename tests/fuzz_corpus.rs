//! The bodies of the fuzz targets, over the inputs that fuzzing kept and over changed ones: `make fuzz` looks for more.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;

#[path = "fuzz/bodies.rs"]
mod bodies;

/// The kept inputs of a target.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let entries = std::fs::read_dir(&directory);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path| std::fs::read(path).unwrap();
    paths.into_iter().map(read).collect()
}

/// Changes an input: overwrites bytes, cuts it off, or puts a part of another behind it.
fn changed(input: &[u8], other: &[u8], writes: &[(Index, u8)], cut: Index, join: bool) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for (at, byte) in writes.iter().filter(|_| !input.is_empty()) {
        bytes[at.index(input.len())] = *byte;
    }
    if join {
        bytes.truncate(cut.index(input.len() + 1));
        bytes.extend_from_slice(other);
    }
    bytes
}

fn holds(name: &str, body: fn(&[u8])) {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "no inputs for {name}");
    corpus.iter().for_each(|input| body(input));
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let writes = proptest::collection::vec(any::<(Index, u8)>(), 0..8);
    let which = any::<(Index, Index, Index, bool)>();
    let mut runner = TestRunner::new(config);
    let strategy = (
        proptest::collection::vec(any::<u8>(), 0..256),
        writes,
        which,
    );
    let outcome = runner.run(&strategy, |(random, writes, (one, other, cut, join))| {
        body(&random);
        let (one, other) = (one.get(&corpus), other.get(&corpus));
        body(&changed(one, other, &writes, cut, join));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
}

macro_rules! each_holds {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                holds(stringify!($name), bodies::$name);
            }
        )+

        #[test]
        fn every_corpus_has_a_body() {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
            for entry in std::fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!([$(stringify!($name)),+].contains(&name.as_str()), "{name}");
            }
        }
    };
}

each_holds!(startup client server bodies lexer classify encoding);
