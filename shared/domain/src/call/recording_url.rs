//! The URLs of recordings: which ones are accepted, and how their user name and password are split off.

use std::borrow::Cow;

use url::Url;

/// Whether this is an absolute `http` or `https` URL with a host, and without white space.
///
/// Stricter than the WHATWG parser, which reads `https:host` and `http:///host` as `http://host`: an analyst
/// must be able to open the URL with any other program.
pub(super) fn is_recording_url(text: &str) -> bool {
    let Some((scheme, rest)) = split_scheme(text) else {
        return false;
    };
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && !rest.starts_with(['/', '\\'])
        && !has_white_space(text)
        && Url::parse(text).is_ok_and(|url| url.has_host())
}

/// The texts before and after the first `://`, which must begin at the first colon.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    Some((scheme, rest.strip_prefix("//")?))
}

fn has_white_space(text: &str) -> bool {
    if text.is_ascii() {
        // Without stopping at the first one, which is many times faster than a branch for each byte.
        text.bytes().fold(false, |has, byte| has | matches!(byte, b'\t'..=b'\r' | b' '))
    } else {
        text.contains(char::is_whitespace)
    }
}

/// The user name and password in a recording's URL, `user:password` as sent.
#[must_use]
pub fn userinfo(url: &str) -> Option<&str> {
    split(url).map(|(_scheme, userinfo, _rest)| userinfo)
}

/// A recording's URL without its user name and password; byte for byte the same otherwise.
#[must_use]
pub fn without_userinfo(url: &str) -> Cow<'_, str> {
    match split(url) {
        Some((scheme, _userinfo, rest)) => Cow::Owned(format!("{scheme}://{rest}")),
        None => Cow::Borrowed(url),
    }
}

/// Scheme, user info, and the text after the `@`. That is the last `@` of the authority, as in the WHATWG parser.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = split_scheme(url)?;
    // The characters that end the authority of an http URL, the backslash among them.
    let authority = rest.split(['/', '\\', '?', '#']).next()?;
    let (userinfo, _host) = authority.rsplit_once('@')?;
    let (_, after) = rest.split_at_checked(userinfo.len() + 1)?;
    Some((scheme, userinfo, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::examples::{NO_URLS, URLS};

    #[test]
    fn recording_urls_are_absolute_http_with_a_host() {
        for url in URLS {
            assert!(is_recording_url(url), "{url}");
        }
        for url in NO_URLS {
            assert!(!is_recording_url(url), "{url}");
        }
    }

    #[test]
    fn user_info_is_all_before_the_last_at_of_the_authority() {
        for (sent, user, rest) in [
            ("http://u:p@h/x", Some("u:p"), "http://h/x"),
            ("HTTP://u@h", Some("u"), "HTTP://h"),
            ("http://@h/", Some(""), "http://h/"),
            ("http://a@b@h?x@y", Some("a@b"), "http://h?x@y"),
            ("http://h/u:p@x", None, "http://h/u:p@x"),
            ("http://h?u@x", None, "http://h?u@x"),
            ("http://h#u@x", None, "http://h#u@x"),
            ("http://h\\u@x", None, "http://h\\u@x"),
            ("http://h/?u=http://a:b@c", None, "http://h/?u=http://a:b@c"),
            ("no url", None, "no url"),
        ] {
            assert_eq!(userinfo(sent), user, "{sent}");
            assert_eq!(without_userinfo(sent), rest, "{sent}");
        }
    }
}
