//! A cache of classified texts, bounded in bytes.
//!
//! Two generations: new texts go into the young one; when that holds half of the limit it becomes
//! the old one and the old one is forgotten; a text found in the old one becomes young again. A
//! flood of ever-new texts costs one parse each and never more memory than the limit. The hash is
//! keyed (`ahash` with random keys) and the full text is compared, so no client can make another's
//! text be taken for its own.

use ahash::AHashMap;

use super::classify::{self, Classified, LexicalSettings};

/// Estimated bytes that an entry costs beside its text.
const ENTRY_BYTES: usize = 96;

/// A bounded cache of classified texts.
#[derive(Debug)]
pub struct ClassCache {
    limit_bytes: usize,
    young: Generation,
    old: Generation,
}

type Texts = AHashMap<Box<[u8]>, Classified>;

#[derive(Debug, Default)]
struct Generation {
    bytes: usize,
    /// One map for each lexical setting met; nearly always one.
    maps: Vec<(LexicalSettings, Texts)>,
}

impl Generation {
    fn get(&self, text: &[u8], settings: LexicalSettings) -> Option<&Classified> {
        self.maps
            .iter()
            .find(|(of, _)| *of == settings)?
            .1
            .get(text)
    }

    fn insert(
        &mut self,
        text: &[u8],
        settings: LexicalSettings,
        classified: Classified,
        bytes: usize,
    ) {
        let map = match self.maps.iter_mut().position(|(of, _)| *of == settings) {
            Some(at) => &mut self.maps[at].1,
            None => {
                self.maps.push((settings, Texts::default()));
                let last = self.maps.len() - 1;
                &mut self.maps[last].1
            }
        };
        map.insert(text.into(), classified);
        self.bytes += bytes;
    }
}

/// Where the answer of [`ClassCache::classify`] came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// One glance at the text was enough.
    Glance,
    /// The cache had it.
    Hit,
    /// The parser was asked.
    Parsed,
}

impl ClassCache {
    /// A cache that holds at most `limit_bytes` of texts and what is known of them.
    pub fn new(limit_bytes: usize) -> ClassCache {
        ClassCache {
            limit_bytes,
            young: Generation::default(),
            old: Generation::default(),
        }
    }

    /// Classifies a text, by a glance, from the cache, or by parsing it.
    pub fn classify(&mut self, text: &[u8], settings: LexicalSettings) -> (Classified, Source) {
        if let Some(found) = self.lookup(text, settings) {
            return found;
        }
        let classified = classify::classify(text, settings);
        self.remember(text, settings, classified.clone());
        (classified, Source::Parsed)
    }

    /// What is known of a text without parsing it.
    pub fn lookup(
        &mut self,
        text: &[u8],
        settings: LexicalSettings,
    ) -> Option<(Classified, Source)> {
        if let Some(classified) = classify::glance(text, settings) {
            return Some((classified, Source::Glance));
        }
        if let Some(found) = self.young.get(text, settings) {
            return Some((found.clone(), Source::Hit));
        }
        let found = self.old.get(text, settings)?.clone();
        self.remember(text, settings, found.clone());
        Some((found, Source::Hit))
    }

    /// Keeps what is known of a text.
    pub fn remember(&mut self, text: &[u8], settings: LexicalSettings, classified: Classified) {
        let copies = match &classified {
            Classified::Plain { .. } => 1,
            Classified::Interesting(_) => 4,
        };
        let bytes = text.len() * copies + ENTRY_BYTES;
        if bytes > self.limit_bytes / 16 {
            return; // one text may not push out all others
        }
        if self.young.bytes + bytes > self.limit_bytes / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(text, settings, classified, bytes);
    }

    /// Bytes held, as counted against the limit.
    pub fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::classify::Class;

    #[test]
    fn a_flood_of_new_texts_stays_within_the_limit_and_keeps_what_is_used() {
        let settings = LexicalSettings::default();
        let mut cache = ClassCache::new(64 * 1024);
        for number in 0..5_000 {
            cache.classify(format!("vacuum t{number}").as_bytes(), settings);
            assert!(cache.bytes() <= 64 * 1024);
            let (_, source) = cache.classify(b"create table used (a int)", settings);
            assert!(number == 0 || source == Source::Hit);
        }
        assert_eq!(cache.classify(b"vacuum t0", settings).1, Source::Parsed);
    }

    #[test]
    fn no_text_is_taken_for_its_twin() {
        // The full text is compared, whatever its hash: many twins of one length, one byte apart.
        let settings = LexicalSettings::default();
        let mut cache = ClassCache::new(8 << 20);
        for round in 0..2 {
            for number in 0..2_000 {
                let twin = |first: &str| format!("{first} t{number:06}; select 'x';        ");
                let (harmless, _) = cache.classify(twin("vacuum").as_bytes(), settings);
                let (change, source) = cache.classify(twin("drop table").as_bytes(), settings);
                assert_eq!(
                    (harmless.class(), change.class()),
                    (Class::Utility, Class::Ddl)
                );
                assert_eq!(source == Source::Hit, round == 1);
            }
        }
    }

    #[test]
    fn a_text_too_long_for_the_cache_is_parsed_each_time() {
        let mut cache = ClassCache::new(4096);
        let text = format!("create table t (a int /* {} */)", "x".repeat(4096));
        for _ in 0..2 {
            assert_eq!(
                cache
                    .classify(text.as_bytes(), LexicalSettings::default())
                    .1,
                Source::Parsed
            );
        }
        assert_eq!(cache.bytes(), 0);
    }
}
