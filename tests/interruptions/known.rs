//! What may be left when nobody is there to take it back.

/// Something that is left.
#[derive(Debug)]
#[allow(dead_code, reason = "the reason is for people")]
pub(crate) struct Known {
    /// The family.
    pub(crate) family: &'static str,
    /// What is left.
    pub(crate) left: &'static str,
    /// Why.
    pub(crate) why: &'static str,
    /// The same statement, sent again, does what it says.
    pub(crate) resumes: bool,
}

const STEPS: &str = "the steps that were done: the session that would take them back is gone";
const INVALID: &str = "the index that was being built: the session that would drop it is gone";
const HALF: &str = "what was half gone: the session that would finish it is gone";
const BOUND: &str = "the partition's bound as a CHECK: the session that would drop it is gone";
/// What any interruption leaves.
pub(crate) const DETACHED: &str = "the partition is detached, which can't be taken back, and whoever interrupts \
    doesn't want it dropped: the error says what was done, and the same statement goes on from there";

const fn known(
    family: &'static str,
    left: &'static str,
    why: &'static str,
    resumes: bool,
) -> Known {
    Known {
        family,
        left,
        why,
        resumes,
    }
}

/// All of it.
pub(crate) const KNOWN: &[Known] = &[
    known("add column, volatile default", "+column t c", STEPS, false),
    known(
        "add column, volatile default",
        "+column t c, +constraint t t_c_not_null",
        STEPS,
        false,
    ),
    known(
        "add column, serial",
        "+column t c, +constraint t t_c_not_null, +relation t_c_seq",
        STEPS,
        false,
    ),
    known(
        "add column, serial",
        "+column t c, +relation t_c_seq",
        STEPS,
        false,
    ),
    known("add column, serial", "+relation t_c_seq", STEPS, false),
    known(
        "add column, identity",
        "+column t c, +constraint t t_c_not_null, +relation t_c_backfill",
        STEPS,
        false,
    ),
    known(
        "add column, identity",
        "+column t c, +relation t_c_backfill",
        STEPS,
        false,
    ),
    known(
        "add column, identity",
        "+relation t_c_backfill",
        STEPS,
        false,
    ),
    known("set not null", "+constraint t t_a_not_null", STEPS, false),
    known(
        "set not null",
        "+constraint t t_a_not_null, ~column t a",
        STEPS,
        false,
    ),
    known("add check", "+constraint t t_a_check", STEPS, false),
    known("add foreign key", "+constraint t t_p_fkey", STEPS, false),
    known("add unique", "+relation t_a_key", STEPS, false),
    known(
        "add primary key",
        "+constraint u u_id_not_null",
        STEPS,
        false,
    ),
    known(
        "add primary key",
        "+constraint u u_id_not_null, ~column u id",
        STEPS,
        false,
    ),
    known(
        "add primary key",
        "+relation u_pkey, ~column u id",
        STEPS,
        false,
    ),
    known("add primary key", "~column u id", STEPS, true),
    known("create index", "+relation t_a", INVALID, false),
    known("create unique index", "+relation t_a", INVALID, false),
    known(
        "create index, partitioned",
        "+relation m1_v_idx",
        INVALID,
        false,
    ),
    known(
        "create index, partitioned",
        "+relation m1_v_idx",
        STEPS,
        true,
    ),
    known(
        "create index, partitioned",
        "+relation m1_v_idx, +relation m2_v_idx",
        INVALID,
        false,
    ),
    known(
        "create index, partitioned",
        "+relation m1_v_idx, +relation m2_v_idx",
        STEPS,
        true,
    ),
    known("reindex index", "+relation t_b_ccnew", INVALID, false),
    known(
        "reindex table",
        "+relation t_b_ccnew, +relation t_pkey_ccnew",
        INVALID,
        false,
    ),
    known("attach partition", "+constraint m3 m3_attach", STEPS, false),
    known(
        "attach partition",
        "+constraint m3 m3_attach, +parent m3 m, ~column m3 at, ~column m3 v, ~relation m3",
        STEPS,
        false,
    ),
    known("create partition", "+relation m4", STEPS, false),
    known("several in one", "+column t c", STEPS, false),
    known(
        "several in one",
        "+column t c, +constraint t t_a_check, ~column t b",
        STEPS,
        false,
    ),
    known(
        "several in one",
        "+column t c, +constraint t t_b_not_null",
        STEPS,
        false,
    ),
    known(
        "several in one",
        "+column t c, +constraint t t_b_not_null, ~column t b",
        STEPS,
        false,
    ),
    known("several in one", "+column t c, ~column t b", STEPS, false),
    known("drop index", "~index t_b", HALF, true),
    known(
        "detach partition",
        "+constraint m1 m1_at_check, -parent m1 m, ~column m1 at, ~column m1 v, ~relation m1",
        BOUND,
        false,
    ),
    known(
        "detach partition",
        "+constraint m1 m1_at_check, ~parent m1 m",
        HALF,
        false,
    ),
    known(
        "detach partition concurrently",
        "+constraint m1 m1_at_check, ~parent m1 m",
        HALF,
        true,
    ),
    known(
        "drop partition",
        "+constraint m1 m1_at_check, -parent m1 m, ~column m1 at, ~column m1 v, ~relation m1",
        DETACHED,
        true,
    ),
    known(
        "drop partition",
        "+constraint m1 m1_at_check, ~parent m1 m",
        HALF,
        true,
    ),
];
