//! Connection strings read as libpq reads them.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

fn nowhere() -> Environment {
    Environment {
        account: Some("me".into()),
        socket_directories: vec!["/nonexistent".into(), "/tmp".into()],
        ..Environment::default()
    }
}

fn with(variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Environment { variables: variables.collect(), ..nowhere() }
}

fn read(text: &str) -> ConnectionSettings {
    resolve_with(text, &nowhere()).unwrap()
}

fn refused(text: &str) -> DsnError {
    resolve_with(text, &nowhere()).unwrap_err()
}

#[test]
fn a_url_names_every_part() {
    let settings = read(
        "postgresql://app:p%40ss@db.example:6432/shop?sslmode=verify-full&sslrootcert=/r.crt&connect_timeout=7&options=-c%20jit%3Doff",
    );
    assert_eq!(settings.host, Host::Tcp("db.example".into()));
    assert_eq!((settings.port, settings.user.as_str()), (6432, "app"));
    assert_eq!(settings.password.unwrap().expose(), "p@ss");
    assert_eq!(settings.database, "shop");
    assert_eq!(settings.ssl_mode, SslMode::VerifyFull);
    assert_eq!(settings.ssl_root_cert.unwrap(), PathBuf::from("/r.crt"));
    assert_eq!(settings.connect_timeout, Duration::from_secs(7));
    assert_eq!(settings.options.unwrap(), "-c jit=off");
}

#[test]
fn keywords_take_quotes_backslashes_and_spaces_around_the_sign() {
    let settings = read(r"host = db user='a b' password='it\'s \\ here' dbname=shop\ 1");
    assert_eq!(settings.user, "a b");
    assert_eq!(settings.password.unwrap().expose(), r"it's \ here");
    assert_eq!(settings.database, "shop 1");
}

#[test]
fn nothing_given_means_the_socket_the_account_and_its_database() {
    let settings = read("");
    assert_eq!(settings.host, Host::Unix("/tmp".into()));
    assert_eq!((settings.port, settings.user, settings.database), (5432, "me".into(), "me".into()));
    assert_eq!(settings.ssl_mode, SslMode::Prefer);
}

#[test]
fn hosts_may_be_bracketed_addresses_and_socket_directories() {
    assert_eq!(read("postgres://[::1]:5433/d").host, Host::Tcp("::1".into()));
    assert_eq!(read("postgres://u@/d?host=/run/pg&port=1").host, Host::Unix("/run/pg".into()));
    assert_eq!(read("postgres://%2Frun%2Fpg/d").host, Host::Unix("/run/pg".into()));
    assert_eq!(read("host=/run/pg").host, Host::Unix("/run/pg".into()));
    assert_eq!(read("hostaddr=10.0.0.1").host, Host::Tcp("10.0.0.1".into()));
}

#[test]
fn every_sslmode_is_known_and_others_are_refused() {
    for (text, mode) in [
        ("disable", SslMode::Disable),
        ("allow", SslMode::Allow),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ] {
        assert_eq!(read(&format!("sslmode={text}")).ssl_mode, mode);
    }
    assert!(refused("sslmode=verify").to_string().contains("verify-full"));
}

#[test]
fn what_is_given_goes_before_the_environment() {
    let environment = with(&[
        ("PGHOST", "other"),
        ("PGPORT", "6000"),
        ("PGUSER", "env"),
        ("PGPASSWORD", "secret"),
        ("PGDATABASE", "envdb"),
        ("PGSSLMODE", "require"),
        ("PGSSLROOTCERT", "/env.crt"),
        ("PGCONNECT_TIMEOUT", "0"),
        ("PGOPTIONS", "-c jit=off"),
    ]);
    let settings = resolve_with("user=given", &environment).unwrap();
    assert_eq!(settings.user, "given");
    assert_eq!(settings.host, Host::Tcp("other".into()));
    assert_eq!((settings.port, settings.database.as_str()), (6000, "envdb"));
    assert_eq!(settings.password.unwrap().expose(), "secret");
    assert_eq!(settings.ssl_mode, SslMode::Require);
    assert_eq!(settings.connect_timeout, NO_TIMEOUT);
    assert_eq!(settings.options.unwrap(), "-c jit=off");
}

#[test]
fn a_service_goes_before_the_environment_and_behind_the_string() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("services");
    std::fs::write(&file, "# all\n[other]\nhost=x\n[shop]\nhost=db\nport=7000\nuser=svc\n")
        .unwrap();
    let file = file.display().to_string();
    let environment =
        with(&[("PGSERVICEFILE", &file), ("PGHOST", "env"), ("PGSYSCONFDIR", "/nonexistent")]);
    let settings = resolve_with("service=shop user=me2", &environment).unwrap();
    assert_eq!(settings.host, Host::Tcp("db".into()));
    assert_eq!((settings.port, settings.user.as_str()), (7000, "me2"));
    let unknown = resolve_with("service=none", &environment).unwrap_err().to_string();
    assert!(unknown.contains("none") && unknown.contains(&file), "{unknown}");
}

#[test]
fn the_password_file_fits_by_place_and_is_left_alone_when_others_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pass");
    let text = "# a comment\ndb:5432:shop:app:first\n*:*:*:a\\:b:col\\\\on\n*:*:*:app:any\nlocalhost:5432:*:me:local\n";
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = file.display().to_string();
    let environment = with(&[("PGPASSFILE", &path)]);
    let password = |text: &str| {
        let password = resolve_with(text, &environment).unwrap().password;
        password.map(|secret| secret.expose().to_owned())
    };
    assert_eq!(password("host=db user=app dbname=shop").as_deref(), Some("first"));
    assert_eq!(password("host=db user=app dbname=x").as_deref(), Some("any"));
    assert_eq!(password("host=db user=a:b").as_deref(), Some("col\\on"));
    assert_eq!(password("").as_deref(), Some("local"));
    assert_eq!(password("host=db user=nobody"), None);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(password("host=db user=app dbname=shop"), None);
}

#[test]
fn what_cannot_be_honoured_is_refused_with_the_reason() {
    assert_eq!(refused("host=a,b"), DsnError::SeveralHosts);
    assert_eq!(refused("postgres://a:1,b:2/d"), DsnError::SeveralHosts);
    assert_eq!(refused("postgres://[::1],[::2]/d"), DsnError::SeveralHosts);
    assert!(matches!(refused("sslcert=/x"), DsnError::Unsupported { key: "sslcert", .. }));
    assert!(matches!(refused("channel_binding=require"), DsnError::Unsupported { .. }));
    let demanding = with(&[("PGCHANNELBINDING", "require")]);
    assert!(matches!(resolve_with("", &demanding), Err(DsnError::Unsupported { .. })));
    assert!(matches!(refused("port=0"), DsnError::Value { key: "port", .. }));
    assert_eq!(
        refused("pasword=x").to_string(),
        "the connection string has an unknown key \"pasword\""
    );
    assert_eq!(refused("localhost"), DsnError::Form);
    assert_eq!(refused("mysql://localhost/x"), DsnError::Form);
    assert!(matches!(refused("postgres://u:12/34@h/d"), DsnError::Malformed(_)));
    assert!(matches!(refused("postgres://u:%zz@h"), DsnError::Malformed(_)));
    assert!(read("application_name=x target_session_attrs=any").password.is_none());
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = resolve_with(&text, &nowhere());
        let _ = resolve_with(&format!("postgresql://{text}"), &nowhere());
        let _ = resolve_with(&format!("host={text}"), &nowhere());
    }

    #[test]
    fn a_password_is_never_repeated(
        // Characters that a password may hold although they mean something in a URL or between keywords.
        middle in "[a-z@:/?&=%' \\\\\\[\\],]{0,12}",
        key in "[a-z_]{1,12}",
    ) {
        let password = format!("hunter{middle}tango");
        for text in [
            format!("postgresql://u:{password}@h:5432/d?{key}=1"),
            format!("postgresql://u:{password}@h:port/d"),
            format!("user=u password={password} {key}=1"),
            format!("password='{password} {key}=1"),
        ] {
            match resolve_with(&text, &nowhere()) {
                Ok(settings) => {
                    let printed = format!("{settings:?}");
                    prop_assert!(!printed.contains(&password), "{printed}");
                }
                Err(error) => {
                    let words = format!("{error} {error:?}");
                    prop_assert!(!words.contains("hunter") && !words.contains("tango"), "{words}");
                }
            }
        }
    }

    #[test]
    fn a_quoted_value_survives(value in "[^\0]{1,20}") {
        let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
        let settings = resolve_with(&format!("dbname='{quoted}' host=h"), &nowhere()).unwrap();
        prop_assert_eq!(settings.database, value);
    }
}
