//! Settings that are on or off: one way to read them. Pure.

/// Reads `on`, `true`, `1` or `yes` as `true`, and `off`, `false`, `0` or `no` as `false`, in any case.
///
/// # Errors
/// [`NotASwitch`] when the text is none of these.
pub fn on_or_off(text: &str) -> Result<bool, NotASwitch> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "1" | "yes" => Ok(true),
        "off" | "false" | "0" | "no" => Ok(false),
        _ => Err(NotASwitch),
    }
}

/// A text that is neither on nor off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be on or off")]
pub struct NotASwitch;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_and_off_are_read_in_each_spelling_and_any_case() {
        for text in ["on", "true", "1", "yes", "ON", "True", "yEs"] {
            assert_eq!(on_or_off(text), Ok(true), "{text}");
        }
        for text in ["off", "false", "0", "no", "OFF", "False", "nO"] {
            assert_eq!(on_or_off(text), Ok(false), "{text}");
        }
        for text in ["", " on", "maybe", "2", "y", "onoff"] {
            assert_eq!(on_or_off(text), Err(NotASwitch), "{text}");
        }
    }
}
