//! `postgresql://user:password@host:port/database?key=value`.

use super::{DsnError, Given, enter};

/// What follows the scheme of a URL; None for another form.
pub(super) fn rest(text: &str) -> Option<&str> {
    text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://"))
}

pub(super) fn read(rest: &str) -> Result<Given, DsnError> {
    let mut given = Given::new();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A password may hold "@" by mistake: the last one before the path divides.
    let address = match authority.rsplit_once('@') {
        Some((account, address)) => {
            let (user, password) = match account.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (account, None),
            };
            put(&mut given, "user", user)?;
            if let Some(password) = password {
                put(&mut given, "password", password)?;
            }
            address
        }
        None => authority,
    };
    read_address(&mut given, address)?;
    let (database, query) = match path.split_once('?') {
        Some((database, query)) => (database, Some(query)),
        None => (path, None),
    };
    if database.contains('@') && authority.contains(':') && !authority.contains('@') {
        return Err(DsnError::Malformed("a \"/\" in a password has to be written %2F"));
    }
    put(&mut given, "dbname", database.strip_prefix('/').unwrap_or(database))?;
    for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty())
    {
        let (key, value) = pair
            .split_once('=')
            .ok_or(DsnError::Malformed("a key of the URL's query has no \"=\""))?;
        // With an "@" behind the path the query may be a piece of a password that was not encoded.
        let repeat = !path.contains('@');
        match (decode(key)?.as_str(), decode(value)?) {
            ("ssl", value) if value == "true" => {
                enter(&mut given, "sslmode", "require".into(), repeat)?;
            }
            (key, value) => enter(&mut given, key, value, repeat)?,
        }
    }
    Ok(given)
}

/// `host:port`, `[IPv6]:port`, or nothing.
fn read_address(given: &mut Given, address: &str) -> Result<(), DsnError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest
                .split_once(']')
                .ok_or(DsnError::Malformed("a bracketed address does not end"))?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None if after.starts_with(',') => return Err(DsnError::SeveralHosts),
                None => {
                    return Err(DsnError::Malformed("only a port may follow a bracketed address"));
                }
            }
        }
        None => {
            if address.contains(',') {
                return Err(DsnError::SeveralHosts);
            }
            match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            }
        }
    };
    put(given, "host", host)?;
    put(given, "port", port.unwrap_or_default())
}

fn put(given: &mut Given, key: &'static str, encoded: &str) -> Result<(), DsnError> {
    if !encoded.is_empty() {
        given.insert(key, decode(encoded)?);
    }
    Ok(())
}

/// Percent-decoding. A "+" stays: this is no form.
fn decode(text: &str) -> Result<String, DsnError> {
    let malformed = DsnError::Malformed("a \"%\" is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            return Err(malformed);
        };
        match (high * 16 + low) as u8 {
            0 => return Err(DsnError::Malformed("%00 stands for no character")),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| DsnError::Malformed("percent-decoding gives no UTF-8"))
}
