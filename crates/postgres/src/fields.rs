//! Columns of a row by name, and versions of the SQL that fills them.

use crate::PostgresError;
use pgassay_model::Timestamp;
use std::error::Error;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

/// A row with what was being done, for errors.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'r> {
    row: &'r Row,
    doing: &'static str,
}

impl<'r> Fields<'r> {
    pub(crate) fn new(row: &'r Row, doing: &'static str) -> Self {
        Fields { row, doing }
    }

    /// A column.
    pub(crate) fn get<T: FromSql<'r>>(self, name: &str) -> Result<T, PostgresError> {
        self.row.try_get(name).map_err(|error| PostgresError::Query {
            doing: self.doing.to_owned(),
            message: format!("column {name}: {}", crate::error::causes(&error)),
            sqlstate: None,
        })
    }

    /// A bigint that counts; below 0 (a counter that was never set) counts as 0.
    pub(crate) fn count(self, name: &str) -> Result<u64, PostgresError> {
        Ok(u64::try_from(self.get::<i64>(name)?).unwrap_or(0))
    }

    /// A bigint that counts, or NULL.
    pub(crate) fn maybe_count(self, name: &str) -> Result<Option<u64>, PostgresError> {
        Ok(self.get::<Option<i64>>(name)?.and_then(|count| u64::try_from(count).ok()))
    }

    /// Seconds since 1970.
    pub(crate) fn time(self, name: &str) -> Result<Option<Timestamp>, PostgresError> {
        Ok(self
            .get::<Option<f64>>(name)?
            .filter(|seconds| seconds.is_finite())
            .and_then(|seconds| Timestamp::from_microsecond((seconds * 1e6) as i64).ok()))
    }

    /// A text array; NULLs in it are left out, and NULL is empty.
    pub(crate) fn texts(self, name: &str) -> Result<Vec<String>, PostgresError> {
        let texts: Option<Vec<Option<String>>> = self.get(name)?;
        Ok(texts.unwrap_or_default().into_iter().flatten().collect())
    }

    /// The same; None where one of them is not UTF-8.
    pub(crate) fn readable_texts(self, name: &str) -> Result<Option<Vec<String>>, PostgresError> {
        let texts: Option<Vec<Option<Bytes<'r>>>> = self.get(name)?;
        let texts = texts.unwrap_or_default().into_iter().flatten();
        Ok(texts.map(|text| String::from_utf8(text.0.to_vec()).ok()).collect())
    }

    /// A text, with marks in place of what is not UTF-8.
    pub(crate) fn any_text(self, name: &str) -> Result<Option<String>, PostgresError> {
        let text: Option<Bytes<'r>> = self.get(name)?;
        Ok(text.map(|text| String::from_utf8_lossy(text.0).into_owned()))
    }
}

/// A text as the server sent it: a database in SQL_ASCII holds any bytes.
struct Bytes<'r>(&'r [u8]);

impl<'r> FromSql<'r> for Bytes<'r> {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Bytes(raw))
    }

    fn accepts(kind: &Type) -> bool {
        <&str as FromSql>::accepts(kind)
    }
}

/// The text of the newest version not above `version`, of texts in ascending order.
pub(crate) fn newest<V: PartialOrd>(
    version: V,
    texts: &[(V, &'static str)],
) -> Option<&'static str> {
    texts.iter().rev().find(|(from, _)| *from <= version).map(|(_, text)| *text)
}
