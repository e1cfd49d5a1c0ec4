//! Command tags by the kind of object, named as in PostgreSQL's `ObjectType`
//! (`src/include/nodes/parsenodes.h`; the tags are those of `src/include/tcop/cmdtaglist.h`).

macro_rules! object_tags {
    ($(#[$doc:meta])* $function:ident, $verb:literal) => {
        $(#[$doc])*
        pub(super) fn $function(object: &str) -> &'static str {
            match object {
                "OBJECT_TABLE" | "OBJECT_COLUMN" | "OBJECT_TABCONSTRAINT" => {
                    concat!($verb, " TABLE")
                }
                "OBJECT_INDEX" => concat!($verb, " INDEX"),
                "OBJECT_VIEW" => concat!($verb, " VIEW"),
                "OBJECT_MATVIEW" => concat!($verb, " MATERIALIZED VIEW"),
                "OBJECT_SEQUENCE" => concat!($verb, " SEQUENCE"),
                "OBJECT_FOREIGN_TABLE" => concat!($verb, " FOREIGN TABLE"),
                "OBJECT_TYPE" | "OBJECT_ATTRIBUTE" => concat!($verb, " TYPE"),
                "OBJECT_DOMAIN" | "OBJECT_DOMCONSTRAINT" => concat!($verb, " DOMAIN"),
                "OBJECT_SCHEMA" => concat!($verb, " SCHEMA"),
                "OBJECT_FUNCTION" => concat!($verb, " FUNCTION"),
                "OBJECT_PROCEDURE" => concat!($verb, " PROCEDURE"),
                "OBJECT_ROUTINE" => concat!($verb, " ROUTINE"),
                "OBJECT_AGGREGATE" => concat!($verb, " AGGREGATE"),
                "OBJECT_TRIGGER" => concat!($verb, " TRIGGER"),
                "OBJECT_EVENT_TRIGGER" => concat!($verb, " EVENT TRIGGER"),
                "OBJECT_RULE" => concat!($verb, " RULE"),
                "OBJECT_POLICY" => concat!($verb, " POLICY"),
                "OBJECT_EXTENSION" => concat!($verb, " EXTENSION"),
                "OBJECT_ROLE" => concat!($verb, " ROLE"),
                "OBJECT_DATABASE" => concat!($verb, " DATABASE"),
                "OBJECT_COLLATION" => concat!($verb, " COLLATION"),
                "OBJECT_OPERATOR" => concat!($verb, " OPERATOR"),
                "OBJECT_PUBLICATION" => concat!($verb, " PUBLICATION"),
                "OBJECT_SUBSCRIPTION" => concat!($verb, " SUBSCRIPTION"),
                "OBJECT_FOREIGN_SERVER" => concat!($verb, " SERVER"),
                "OBJECT_FDW" => concat!($verb, " FOREIGN DATA WRAPPER"),
                "OBJECT_STATISTIC_EXT" => concat!($verb, " STATISTICS"),
                "OBJECT_CAST" => concat!($verb, " CAST"),
                "OBJECT_LANGUAGE" => concat!($verb, " LANGUAGE"),
                _ => concat!($verb, " OBJECT"),
            }
        }
    };
}

object_tags!(/// The tag of an ALTER of this kind of object.
    alter_tag, "ALTER");
object_tags!(/// The tag of a CREATE of this kind of object.
    create_tag, "CREATE");
object_tags!(/// The tag of a DROP of this kind of object.
    drop_tag, "DROP");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        assert_eq!(drop_tag("OBJECT_TABLE"), "DROP TABLE");
        assert_eq!(alter_tag("OBJECT_FOREIGN_TABLE"), "ALTER FOREIGN TABLE");
        assert_eq!(create_tag("OBJECT_AGGREGATE"), "CREATE AGGREGATE");
        assert_eq!(alter_tag("OBJECT_NEW_IN_20"), "ALTER OBJECT");
    }
}
