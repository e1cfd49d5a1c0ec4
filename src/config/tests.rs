//! Settings as they are written.

use super::*;

fn load(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lockkeeper.toml");
    std::fs::write(&file, text).unwrap();
    Config::load(Some(&file))
}

#[test]
fn the_shipped_file_holds_every_key_with_its_default() {
    let text = include_str!("../../config/lockkeeper.toml");
    let uncommented: String = text
        .lines()
        .map(|line| line.strip_prefix("#:").unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let shipped = load(&uncommented).unwrap();
    for key in KEYS {
        let name = key.rsplit('.').next().unwrap();
        assert!(
            uncommented
                .lines()
                .any(|line| line.starts_with(&format!("{name} ="))),
            "{key} is missing"
        );
    }
    let default = Config::default();
    assert_eq!(
        format!("{:?}", shipped.guard),
        format!("{:?}", default.guard)
    );
    assert_eq!(
        format!("{:?}", shipped.locks),
        format!("{:?}", default.locks)
    );
    assert_eq!(
        format!("{:?}", shipped.limits),
        format!("{:?}", default.limits)
    );
    assert_eq!(format!("{:?}", shipped.log), format!("{:?}", default.log));
    assert_eq!(shipped.upstream.address, default.upstream.address);
    load(text).unwrap();
}

#[test]
fn what_is_wrong_is_named_with_the_nearest_valid_one() {
    for (text, needle) in [
        (
            "[guard]\nmod = 'enforce'",
            "`guard.mod`; the nearest valid one is `guard.mode`",
        ),
        ("[gaurd]\nmode = 'enforce'", "`guard.mode`"),
        (
            "[guard]\nmode = 'enforse'",
            "nearest valid one is `enforce`",
        ),
        ("[locks]\nbudget = '100'", "unit"),
        ("[locks]\nbudget = '2m'", "locks.budget"),
        ("[listen]\ntls = 'require'", "listen.certificate"),
        (
            "[listen]\nproxy_protocol_from = '10.0.0.0/33'",
            "10.0.0.0/8",
        ),
        ("[listen]\nreuseport = true", "`listen.reuse_port`"),
        (
            "[upstream]\nconnect_timeout = '0s'",
            "upstream.connect_timeout",
        ),
        ("[listen", "line"),
        ("[policy]\nrule = {}", "`policy.rules`"),
        (
            "[policy]\nrules = { 'create-index-block-writes' = 'allow' }",
            "nearest valid one is `create-index-blocks-writes`",
        ),
        (
            "[policy.rules]\nlock-queue = 'alow'",
            "nearest valid one is `allow`",
        ),
        (
            "[[policy.overrides]]\ntabel = 'a'\nrules = { lock-queue = 'allow' }",
            "nearest valid one is `table`",
        ),
        (
            "[[policy.overrides]]\nrules = { lock-que = 'allow' }",
            "`policy.overrides[0].rules`: there is no rule `lock-que`; the nearest valid one is `lock-queue`",
        ),
        ("[[policy.overrides]]\ntable = 'a'", "rules"),
        ("[[policy.overrides]]\nrules = {}", "names no rule"),
        (
            "[[policy.overrides]]\ntable = ''\nrules = { lock-queue = 'allow' }",
            "is empty",
        ),
        ("[policy]\nmay_override = '*'", "full names"),
        ("[guard]\nscan_rate = '0B'", "guard.scan_rate"),
    ] {
        let error = load(text).unwrap_err().to_string();
        assert!(error.contains(needle), "{text}: {error}");
    }
}

#[test]
fn networks_may_be_one_or_many() {
    let text = "[listen]\nproxy_protocol_from = ['10.0.0.0/8', '::1']";
    let listen = load(text).unwrap().listen;
    for (address, trusted) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("::1", true),
        ("11.0.0.1", false),
        ("::2", false),
    ] {
        assert_eq!(
            listen.trusts_proxy(address.parse().unwrap()),
            trusted,
            "{address}"
        );
    }
    let text = "[listen]\nproxy_protocol_from = '10.0.0.7, 10.0.0.8'";
    assert_eq!(load(text).unwrap().listen.proxy_protocol_from.len(), 2);
    let text = "[listen]\nproxy_protocol_from = []";
    assert!(load(text).unwrap().listen.proxy_protocol_from.is_empty());
}

#[test]
fn policies_are_for_databases_roles_and_tables() {
    let text = "[policy]\nmay_override = ['dba', 'ops']\nrules = { '*' = 'notice', lock_queue = 'reject' }\n\
                [[policy.overrides]]\ndatabase = 'shop_*'\nrole = 'etl'\ntable = 'staging.*'\n\
                rules = { lock-queue = 'allow' }";
    let policy = load(text).unwrap().policy;
    let said = |database, role| -> Vec<String> {
        let overrides = policy.overrides(database, role).into_iter();
        overrides
            .map(|one| {
                let rule = one.rule.unwrap_or("all".to_owned());
                format!(
                    "{rule} {} {}",
                    one.table.unwrap_or_default(),
                    one.action.as_str()
                )
            })
            .collect()
    };
    assert_eq!(said("shop", "etl"), ["all  notice", "lock-queue  reject"]);
    assert_eq!(
        said("shop_eu", "etl"),
        [
            "all  notice",
            "lock-queue  reject",
            "lock-queue staging.* allow"
        ]
    );
    assert!(policy.may_override("dba") && !policy.may_override("etl"));
    let entries = load(text).unwrap().entries();
    let shown = entries.iter().find(|(key, _)| *key == "policy.rules");
    assert!(shown.unwrap().1.contains("lock-queue"));
}

#[test]
fn addresses_may_be_one_or_many() {
    assert_eq!(
        load("[listen]\naddress = 'a:1'").unwrap().listen.address,
        ["a:1"]
    );
    assert_eq!(
        load("[listen]\naddress = ['a:1', '/run']")
            .unwrap()
            .listen
            .address,
        ["a:1", "/run"]
    );
}
