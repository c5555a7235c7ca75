//! Logs in other languages than English (`lc_messages`): recognised, so that the error can say what to do.
//!
//! The words are those of PostgreSQL 15's own catalogues of messages (postgres-15.mo), all that came with it.

/// A language, what its `duration: ` is, and its `statement: `.
type Words = (&'static str, &'static [&'static str], &'static str);

const LANGUAGES: &[Words] = &[
    ("Chinese", &["执行时间: "], "语句: "),
    ("French", &["durée : "], "instruction : "),
    ("Georgian", &["ხანგრძლივობა: "], "ოპერატორი: "),
    ("German", &["Dauer: "], "Anweisung: "),
    ("Italian", &["durata: "], "istruzione: "),
    ("Japanese", &["期間: "], "文: "),
    ("Korean", &["실행시간: ", "수행시간: "], "명령 구문: "),
    ("Russian", &["продолжительность: "], "оператор: "),
    ("Spanish", &["duración: "], "sentencia: "),
    ("Swedish", &["varaktighet: ", "varaktighet "], "sats: "),
    ("Ukrainian", &["тривалість: "], "оператор: "),
];

/// The language of a log's messages, if it is one of those and durations or statements are logged in it.
pub(crate) fn recognised(log: &[u8]) -> Option<&'static str> {
    let follows = |words: &str, is: fn(u8) -> bool| {
        memchr::memmem::find_iter(log, words.as_bytes()).any(|at| {
            log.get(at + words.len()).copied().is_some_and(is)
                && at
                    .checked_sub(1)
                    .and_then(|before| log.get(before))
                    .is_none_or(|before| matches!(before, b' ' | b'"' | b'\n'))
        })
    };
    // Two languages share a word for statements, none for durations.
    let durations = LANGUAGES.iter().find(|(_, durations, _)| {
        durations.iter().any(|words| follows(words, |byte| byte.is_ascii_digit()))
    });
    durations
        .or_else(|| {
            LANGUAGES
                .iter()
                .find(|(_, _, statement)| follows(statement, |byte| byte.is_ascii_alphabetic()))
        })
        .map(|(language, ..)| *language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_told_by_their_words_for_durations_and_statements() {
        for (line, language) in [
            ("LOG:  Dauer: 1.234 ms  Anweisung: SELECT 1", Some("German")),
            ("LOG:  durée : 1.234 ms, instruction : SELECT 1", Some("French")),
            ("СООБЩЕНИЕ:  продолжительность: 1.234 мс, оператор: SELECT 1", Some("Russian")),
            ("ЗАПИСУВАННЯ:  тривалість: 1.234 мс, оператор: SELECT 1", Some("Ukrainian")),
            ("LOG:  期間: 1.234 ミリ秒  文: SELECT 1", Some("Japanese")),
            ("UTC,\"a\",LOG,00000,\"Anweisung: SELECT 1\"", Some("German")),
            ("LOG:  duration: 1.234 ms  statement: SELECT 'die Dauer: lang'", None),
            ("LOG:  checkpoint starting: time", None),
        ] {
            assert_eq!(recognised(line.as_bytes()), language, "{line}");
        }
    }
}
