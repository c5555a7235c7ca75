//! Keywords that an identifier must not be without quotes.

/// All but the unreserved ones, in order (PostgreSQL 18's kwlist.h; every new version adds to it, and a name quoted
/// without need is the same name). Asking the scanner instead takes microseconds for each name, of which a search
/// for indexes writes millions.
#[rustfmt::skip]
pub(crate) const RESERVED: [&str; 164] = [
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric",
    "authorization", "between", "bigint", "binary", "bit", "boolean", "both", "case", "cast",
    "char", "character", "check", "coalesce", "collate", "collation", "column", "concurrently",
    "constraint", "create", "cross", "current_catalog", "current_date", "current_role",
    "current_schema", "current_time", "current_timestamp", "current_user", "dec", "decimal",
    "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "exists",
    "extract", "false", "fetch", "float", "for", "foreign", "freeze", "from", "full", "grant",
    "greatest", "group", "grouping", "having", "ilike", "in", "initially", "inner", "inout",
    "int", "integer", "intersect", "interval", "into", "is", "isnull", "join", "json",
    "json_array", "json_arrayagg", "json_exists", "json_object", "json_objectagg", "json_query",
    "json_scalar", "json_serialize", "json_table", "json_value", "lateral", "leading", "least",
    "left", "like", "limit", "localtime", "localtimestamp", "merge_action", "national",
    "natural", "nchar", "none", "normalize", "not", "notnull", "null", "nullif", "numeric",
    "offset", "on", "only", "or", "order", "out", "outer", "overlaps", "overlay", "placing",
    "position", "precision", "primary", "real", "references", "returning", "right", "row",
    "select", "session_user", "setof", "similar", "smallint", "some", "substring", "symmetric",
    "system_user", "table", "tablesample", "then", "time", "timestamp", "to", "trailing",
    "treat", "trim", "true", "union", "unique", "user", "using", "values", "varchar",
    "variadic", "verbose", "when", "where", "window", "with", "xmlattributes", "xmlconcat",
    "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot",
    "xmlserialize", "xmltable",
];

#[cfg(test)]
mod tests {
    use super::RESERVED;
    use pg_query::protobuf::{KeywordKind, Token};

    #[test]
    fn the_list_is_in_order_and_has_what_the_scanner_has() {
        assert!(RESERVED.is_sorted());
        let mut known = 0;
        for token in (0..2_000).filter_map(|number| Token::try_from(number).ok()) {
            let name = token.as_str_name().to_lowercase();
            let word = name.strip_suffix("_p").unwrap_or(&name);
            let scanned = pg_query::scan(word).map(|scanned| scanned.tokens).unwrap_or_default();
            let [token] = scanned.as_slice() else { continue };
            let free = matches!(
                KeywordKind::try_from(token.keyword_kind),
                Ok(KeywordKind::NoKeyword | KeywordKind::UnreservedKeyword)
            );
            assert_eq!(RESERVED.binary_search(&word).is_err(), free, "{word}");
            known += usize::from(!free);
        }
        assert_eq!(known, RESERVED.len());
    }
}
