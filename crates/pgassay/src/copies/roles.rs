//! The server's roles in a copy that was restored from a dump: names, rights and settings, without passwords.

use crate::copies::dump_restore::copy_failure;
use crate::failure::Failure;
use crate::target::postgres_failure;
use pgassay_postgres::Session;
use pgassay_sql::quote_identifier;

/// Attributes that CREATE ROLE takes, by their columns of pg_roles.
const ATTRIBUTES: [(&str, &str); 7] = [
    ("rolsuper", "SUPERUSER"),
    ("rolinherit", "INHERIT"),
    ("rolcreaterole", "CREATEROLE"),
    ("rolcreatedb", "CREATEDB"),
    ("rolcanlogin", "LOGIN"),
    ("rolreplication", "REPLICATION"),
    ("rolbypassrls", "BYPASSRLS"),
];

/// Creates in `copy` the roles of the server behind `session` that are not there; returns what could not be.
pub async fn copy(session: &Session, copy: &Session) -> Result<Option<String>, Failure> {
    let doing = "reading the roles for a copy";
    let reading = session.read(doing).await.map_err(postgres_failure)?;
    let roles = reading
        .rows(
            "SELECT rolname::pg_catalog.text, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin,
                    rolreplication, rolbypassrls
             FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY 1 /* pgassay */",
            &[],
        )
        .await
        .map_err(postgres_failure)?;
    let members = reading
        .rows(
            "SELECT roleid::pg_catalog.regrole::pg_catalog.text, member::pg_catalog.regrole::pg_catalog.text
             FROM pg_catalog.pg_auth_members ORDER BY 1, 2 /* pgassay */",
            &[],
        )
        .await
        .map_err(postgres_failure)?;
    let settings = reading
        .rows(
            "SELECT r.rolname::pg_catalog.text, s.setconfig
             FROM pg_catalog.pg_db_role_setting AS s JOIN pg_catalog.pg_roles AS r ON r.oid = s.setrole
             WHERE s.setdatabase = 0 /* pgassay */",
            &[],
        )
        .await
        .map_err(postgres_failure)?;
    reading.end().await.map_err(postgres_failure)?;

    let mut refused = Vec::new();
    for role in &roles {
        let name: String = role.try_get(0).map_err(copy_failure)?;
        let mut create = format!("CREATE ROLE {}", quote_identifier(&name));
        for (column, word) in ATTRIBUTES {
            let has: bool = role.try_get(column).map_err(copy_failure)?;
            create.push_str(if has { " " } else { " NO" });
            create.push_str(word);
        }
        match copy.client().batch_execute(&format!("{create} /* pgassay */")).await {
            Ok(()) => {}
            // The superuser of every throw-away server.
            Err(error) if error.code().is_some_and(|code| code.code() == "42710") => {}
            Err(_) => refused.push(name),
        }
    }
    for row in &members {
        // regrole's text is quoted where a name needs it.
        let (role, member): (String, String) =
            (row.try_get(0).map_err(copy_failure)?, row.try_get(1).map_err(copy_failure)?);
        let grant = format!("GRANT {role} TO {member} /* pgassay */");
        if copy.client().batch_execute(&grant).await.is_err() {
            refused.push(format!("{member} in {role}"));
        }
    }
    for row in &settings {
        let (role, settings): (String, Vec<String>) =
            (row.try_get(0).map_err(copy_failure)?, row.try_get(1).map_err(copy_failure)?);
        // As the catalog holds them: ALTER ROLE would take lists apart by rules of each parameter's own.
        copy.client()
            .execute(
                "INSERT INTO pg_catalog.pg_db_role_setting (setdatabase, setrole, setconfig)
                 SELECT 0, oid, $2 FROM pg_catalog.pg_roles WHERE rolname = $1 /* pgassay */",
                &[&role, &settings],
            )
            .await
            .map_err(copy_failure)?;
    }
    Ok((!refused.is_empty())
        .then(|| format!("not copied of the server's roles: {}", refused.join(", "))))
}
