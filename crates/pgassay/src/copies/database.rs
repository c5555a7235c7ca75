//! The database that a dump is restored into: made with the encoding, locale, owner and settings of the server's own.
//!
//! `pg_dump --create` would do so too, but in the words of its own version, which an older server may not know.

use crate::copies::dump_restore::copy_failure;
use crate::failure::{Exit, Failure, chain};
use crate::target::postgres_failure;
use pgassay_postgres::Session;
use pgassay_sql::{quote_identifier, quote_literal};
use serde_json::Value;

/// Creates in the throw-away server behind `copy` the database that `session` is connected to.
pub async fn create(session: &Session, copy: &Session) -> Result<(), Failure> {
    let doing = "reading the database's own settings for a copy";
    let reading = session.read(doing).await.map_err(postgres_failure)?;
    let row = reading
        .row(
            // The columns that tell of locales have other names in every version.
            "SELECT pg_catalog.to_jsonb(d)::pg_catalog.text, pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text,
                    pg_catalog.pg_get_userbyid(d.datdba)::pg_catalog.text
             FROM pg_catalog.pg_database AS d WHERE d.datname = pg_catalog.current_database() /* pgassay */",
            &[],
        )
        .await
        .map_err(postgres_failure)?
        .ok_or_else(|| Failure::new(Exit::Missing, "the database is not in pg_database", "report this"))?;
    let settings = reading
        .rows(
            "SELECT r.rolname::pg_catalog.text, s.setconfig
             FROM pg_catalog.pg_db_role_setting AS s
             JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
             LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
             WHERE d.datname = pg_catalog.current_database() /* pgassay */",
            &[],
        )
        .await
        .map_err(postgres_failure)?;
    reading.end().await.map_err(postgres_failure)?;

    let (catalog, encoding, owner): (String, String, String) = (
        row.try_get(0).map_err(copy_failure)?,
        row.try_get(1).map_err(copy_failure)?,
        row.try_get(2).map_err(copy_failure)?,
    );
    let catalog: Value = serde_json::from_str(&catalog).unwrap_or_default();
    let name = catalog["datname"].as_str().unwrap_or_default();
    let sql = statement(&catalog, &encoding);
    copy.client().batch_execute(&sql).await.map_err(|error| {
        Failure::new(
            Exit::Missing,
            format!("a database like {name} can't be made on this machine: {}", chain(&error)),
            "its locale and encoding have to exist here (Debian/Ubuntu: locale-gen); or go without copies",
        )
    })?;
    let own = format!(
        "ALTER DATABASE {} OWNER TO {} /* pgassay */",
        quote_identifier(name),
        quote_identifier(&owner)
    );
    // Who could not be created owns nothing; the superuser does then.
    let _ = copy.client().batch_execute(&own).await;
    for row in &settings {
        let (role, settings): (Option<String>, Vec<String>) =
            (row.try_get(0).map_err(copy_failure)?, row.try_get(1).map_err(copy_failure)?);
        // As the catalog holds them, as for roles.
        copy.client()
            .execute(
                "INSERT INTO pg_catalog.pg_db_role_setting (setdatabase, setrole, setconfig)
                 SELECT d.oid, coalesce(r.oid, 0), $3
                 FROM pg_catalog.pg_database AS d LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = $2::pg_catalog.text
                 WHERE d.datname = $1 AND ($2::pg_catalog.text IS NULL OR r.oid IS NOT NULL) /* pgassay */",
                &[&name, &role, &settings],
            )
            .await
            .map_err(copy_failure)?;
    }
    Ok(())
}

/// CREATE DATABASE for a row of pg_database, in the words of the version that the row is of.
fn statement(catalog: &Value, encoding: &str) -> String {
    let text = |column: &str| catalog[column].as_str();
    let mut sql = format!(
        "CREATE DATABASE {} TEMPLATE template0 ENCODING {}",
        quote_identifier(text("datname").unwrap_or_default()),
        quote_literal(encoding)
    );
    let mut option = |word: &str, value: Option<&str>| {
        if let Some(value) = value {
            sql.push_str(&format!(" {word} {}", quote_literal(value)));
        }
    };
    option("LC_COLLATE", text("datcollate"));
    option("LC_CTYPE", text("datctype"));
    // From 15 on: `c`, `i`, and `b` from 17 on; the locale was renamed in 17.
    let provider = match text("datlocprovider") {
        Some("i") => Some(("icu", "ICU_LOCALE")),
        Some("b") => Some(("builtin", "BUILTIN_LOCALE")),
        _ => None,
    };
    if let Some((provider, word)) = provider {
        option("LOCALE_PROVIDER", Some(provider));
        option(word, text("datlocale").or(text("daticulocale")));
        option("ICU_RULES", text("daticurules"));
    }
    sql.push_str(" /* pgassay */");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_database_is_made_in_the_words_of_its_own_version() {
        let old = json!({"datname": "shop", "datcollate": "de_DE.UTF-8", "datctype": "C"});
        assert_eq!(
            statement(&old, "UTF8"),
            "CREATE DATABASE shop TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'de_DE.UTF-8' LC_CTYPE 'C' /* pgassay */"
        );
        let icu = json!({"datname": "Shop db", "datlocprovider": "i", "daticulocale": "sv", "daticurules": null});
        assert_eq!(
            statement(&icu, "UTF8"),
            "CREATE DATABASE \"Shop db\" TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER 'icu' ICU_LOCALE 'sv' /* pgassay */"
        );
        let builtin = json!({"datname": "shop", "datlocprovider": "b", "datlocale": "C.UTF-8"});
        assert!(
            statement(&builtin, "UTF8")
                .contains("LOCALE_PROVIDER 'builtin' BUILTIN_LOCALE 'C.UTF-8'")
        );
    }
}
