//! The configuration file is read as PgBouncer reads it and edited without touching anything else.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

const TYPICAL: &str = ";; main file\r\n[databases]\nshop = host=10.0.0.1 password='a b=c' port=5432\n* = host=x\n\
\"odd \"\"name\" = host=y\n\n[pgbouncer]\n  ; comment = no\nlisten_port = 6432\n\tdefault_pool_size=20  \n\
query_timeout =\nlisten_port\t=  6433\n\n[users]\nalice = pool_mode=session\ndefault_pool_size = 1\n";

fn ini(text: &str) -> Ini {
    Ini::parse(text.as_bytes(), Path::new("/etc/pgbouncer.ini"), Path::new("/")).unwrap()
}

fn text(ini: &Ini) -> String {
    String::from_utf8(ini.to_bytes()).unwrap()
}

#[test]
fn the_last_duplicate_of_its_own_section_wins() {
    let ini = ini(TYPICAL);
    assert_eq!(ini.get("listen_port").unwrap(), "6433");
    assert_eq!(ini.get("default_pool_size").unwrap(), "20");
    assert_eq!(ini.get("query_timeout").unwrap(), "");
    assert_eq!(ini.get("Listen_port"), None);
    assert_eq!(ini.setting("listen_port").unwrap().line, 12);
    assert_eq!(text(&ini), TYPICAL);
}

#[test]
fn setting_a_key_changes_only_its_value() {
    let mut edited = ini(TYPICAL);
    edited.set("listen_port", "7000").unwrap();
    edited.set("default_pool_size", "40").unwrap();
    edited.set("query_timeout", "5").unwrap();
    let expected = TYPICAL
        .replace("  6433", "  7000")
        .replace("default_pool_size=20", "default_pool_size=40")
        .replace("query_timeout =\n", "query_timeout = 5\n");
    assert_eq!(text(&edited), expected);
    assert_eq!(ini(&expected), edited);
}

#[test]
fn a_new_key_goes_to_the_end_of_its_section() {
    let mut edited = ini(TYPICAL);
    edited.set("reserve_pool_size", "5").unwrap();
    let expected = TYPICAL.replace("=  6433\n", "=  6433\nreserve_pool_size = 5\n");
    assert_eq!(text(&edited), expected);
}

#[test]
fn a_file_without_a_last_line_end_and_one_with_carriage_returns_keep_their_ways() {
    let mut short = ini("[pgbouncer]\na=1");
    short.set("b", "2").unwrap();
    assert_eq!(text(&short), "[pgbouncer]\na=1\nb = 2\n");
    let mut dos = ini("[pgbouncer]\r\na=1\r\n");
    dos.set("b", "2").unwrap();
    dos.set("a", "3").unwrap();
    assert_eq!(text(&dos), "[pgbouncer]\r\na=3\r\nb = 2\r\n");
}

#[test]
fn a_second_header_starts_from_the_defaults() {
    let mut two = ini("[pgbouncer]\na=1\nb=1\n[databases]\nx=\n[pgbouncer]\nb=2\n");
    assert_eq!(two.get("a"), None);
    assert_eq!(two.headers(), 2);
    two.set("a", "9").unwrap();
    assert!(text(&two).ends_with("[pgbouncer]\nb=2\na = 9\n"));
}

#[test]
fn a_key_in_force_through_an_include_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("more.ini"), "; more\na = 2\n").unwrap();
    let parse = |text: &str| {
        Ini::parse(text.as_bytes(), &directory.path().join("main.ini"), directory.path())
    };
    let mut main = parse("[pgbouncer]\na=1\nb=1\n%include more.ini\nc=1\n").unwrap();
    assert_eq!(main.get("a").unwrap(), "2");
    let error = main.set("a", "3").unwrap_err().to_string();
    assert!(error.contains("line 2 of") && error.contains("more.ini"), "{error}");
    main.set("b", "3").unwrap();
    main.set("d", "4").unwrap();
    assert_eq!(main.to_bytes(), b"[pgbouncer]\na=1\nb=3\n%include more.ini\nc=1\nd = 4\n");
    assert_eq!(main.includes(), [directory.path().join("more.ini")]);
    assert!(matches!(parse("%include missing.ini\n"), Err(PgBouncerError::File { .. })));
    assert!(matches!(parse("%include main.ini\n"), Err(PgBouncerError::File { .. })));
}

#[test]
fn an_include_with_a_header_of_its_own_leaves_nothing_to_edit_in_the_main_file() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("all.ini"), "[pgbouncer]\na = 2\n[databases]\n").unwrap();
    let text = b"[pgbouncer]\na=1\n%include all.ini\nb = 1\n";
    let mut main = Ini::parse(text, &directory.path().join("main.ini"), directory.path()).unwrap();
    assert_eq!(main.get("b"), None);
    assert!(main.set("a", "3").is_err());
    assert!(main.set("b", "3").is_err());
    assert_eq!(main.to_bytes(), text);
}

#[test]
fn what_pgbouncer_can_not_read_is_an_error_with_its_line() {
    for bad in [
        "[pgbouncer\n",
        "\nnonsense\n",
        "a b = c\n",
        "= 3\n",
        "\"x = 1\n",
        "%include\n",
        "[a] b=1\n",
    ] {
        assert!(
            matches!(
                Ini::parse(bad.as_bytes(), Path::new("p"), Path::new("/")),
                Err(PgBouncerError::Syntax { .. })
            ),
            "{bad:?}"
        );
    }
}

#[test]
fn a_value_that_would_break_the_file_is_refused() {
    let mut file = ini(TYPICAL);
    for (key, value) in
        [("a", "1\nadmin_users = x"), ("a", " 1"), ("a=b", "1"), ("", "1"), ("[x]", "1")]
    {
        assert!(file.set(key, value).is_err());
    }
    assert_eq!(text(&file), TYPICAL);
}

#[test]
fn an_empty_value_reads_back_as_it_was_set() {
    for before in ["[pgbouncer]\n", "[pgbouncer]\na = 1\n", "[pgbouncer]\na=1 \r\n"] {
        let mut file = ini(before);
        file.set("a", "").unwrap();
        assert_eq!(ini(&text(&file)).get("a").as_deref(), Some(""));
        file.set("a", "2").unwrap();
        assert_eq!(ini(&text(&file)).get("a").as_deref(), Some("2"));
    }
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[pgbouncer]\n".to_string()),
        Just("[databases]\n".to_string()),
        "[ \t]{0,2}[;#][ -~]{0,10}\r?\n",
        "[ \t]{0,2}[a-e][ \t]{0,2}=[ \t]{0,2}[0-9]{0,3}[ \t]{0,2}\r?\n",
        "[ \t]{0,3}\r?\n",
    ]
}

proptest! {
    #[test]
    fn untouched_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if !bytes.starts_with(b"%") && let Ok(ini) = Ini::parse(&bytes, Path::new("p"), Path::new("/nowhere")) {
            prop_assert_eq!(ini.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_set_key_reads_back_and_no_other_changes(lines in proptest::collection::vec(line(), 0..20), key in "[a-f]", value in "[0-9a-z',]{0,4}") {
        let before = ini(&lines.concat());
        let mut after = before.clone();
        if after.set(&key, &value).is_ok() {
            let again = Ini::parse(&after.to_bytes(), Path::new("/etc/pgbouncer.ini"), Path::new("/")).unwrap();
            prop_assert_eq!(&again, &after);
            prop_assert_eq!(again.get(&key), Some(value));
            for other in ["a", "b", "c", "d", "e", "f"].into_iter().filter(|other| *other != key) {
                prop_assert_eq!(again.get(other), before.get(other));
            }
        } else {
            prop_assert_eq!(before.headers(), 0);
        }
    }
}
