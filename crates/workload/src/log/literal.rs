//! What a literal stands for: its value as the text of a parameter.

use crate::log::lexer::{Literal, LiteralKind};

/// The value of a literal as a parameter's text; None is NULL.
pub(crate) fn value(text: &[u8], literal: &Literal) -> Option<String> {
    let raw = text.get(literal.at.clone()).unwrap_or_default();
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let inner = |from: usize| raw.get(from..raw.len().saturating_sub(1)).unwrap_or_default();
    Some(match literal.kind {
        LiteralKind::Null => return None,
        LiteralKind::Integer | LiteralKind::Decimal | LiteralKind::Boolean => lossy(raw),
        LiteralKind::Text => lossy(inner(1)).replace("''", "'"),
        LiteralKind::Escaped => unescape(&lossy(inner(2))),
        LiteralKind::Dollar => {
            let tag = raw.iter().skip(1).position(|byte| *byte == b'$').map_or(0, |at| at + 2);
            lossy(raw.get(tag..raw.len().saturating_sub(tag)).unwrap_or_default())
        }
    })
}

/// Manual, section 4.1.2.2.
fn unescape(text: &str) -> String {
    let mut value = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte == b'\'' {
            at += usize::from(bytes.get(at) == Some(&b'\''));
        }
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        let Some(&escape) = bytes.get(at) else { break };
        at += 1;
        let mut digits = |most: usize, radix: u32| {
            let rest = text.get(at..).unwrap_or_default();
            let digits: String =
                rest.chars().take(most).take_while(|c| c.is_digit(radix)).collect();
            at += digits.len();
            u32::from_str_radix(&digits, radix).ok()
        };
        match escape {
            b'b' => value.push(8),
            b'f' => value.push(12),
            b'n' => value.push(b'\n'),
            b'r' => value.push(b'\r'),
            b't' => value.push(b'\t'),
            b'x' => value.extend(digits(2, 16).map(|code| code as u8)),
            b'u' | b'U' => {
                let code = digits(if escape == b'u' { 4 } else { 8 }, 16);
                let character =
                    code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            b'0'..=b'7' => {
                at -= 1;
                let rest = text.get(at..).unwrap_or_default();
                let octal: String = rest.chars().take(3).take_while(|c| c.is_digit(8)).collect();
                at += octal.len();
                value.push(u32::from_str_radix(&octal, 8).unwrap_or_default() as u8);
            }
            other => value.push(other),
        }
    }
    String::from_utf8_lossy(&value).into_owned()
}
