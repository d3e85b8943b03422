use proptest::prelude::*;

use super::foreign;
use crate::report::text::{NoSecrets, OneLine, Redact};

struct Secret(&'static str);

impl Redact for Secret {
    fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        f(self.0.as_bytes());
    }
}

struct TooMany;

impl Redact for TooMany {
    fn visit_secrets(&self, _: &mut dyn FnMut(&[u8])) {
        unreachable!("too many to look at");
    }

    fn too_many(&self) -> bool {
        true
    }
}

const SECRET: Secret = Secret("sk-live-0123456789");

#[test]
fn short_text_is_unchanged() {
    for text in ["", "a", "not found: \"größe\" \\ /", &"ü".repeat(200)] {
        assert_eq!(&*foreign(text, &NoSecrets), text);
        assert_eq!(&*foreign(text, &SECRET), text);
    }
}

#[test]
fn long_text_is_cut_to_200_characters_with_the_ellipsis() {
    let is = foreign(&"ü".repeat(201), &NoSecrets);
    assert_eq!(*is, format!("{}…", "ü".repeat(199)));
}

#[test]
fn escape_is_never_cut() {
    let fits = format!("{}\u{202e}", "a".repeat(192));
    let escaped = format!("{}\\u{{202e}}", "a".repeat(192));
    assert_eq!(*foreign(&fits, &NoSecrets), escaped);
    let too_long = format!("{}\u{202e}", "a".repeat(193));
    let cut = format!("{}…", "a".repeat(193));
    assert_eq!(*foreign(&too_long, &NoSecrets), cut);
    let no_room = format!("{}\u{202e}b", "a".repeat(192));
    let cut = format!("{}…", "a".repeat(192));
    assert_eq!(*foreign(&no_room, &NoSecrets), cut);
}

#[test]
fn characters_that_break_or_turn_a_line_are_escaped() {
    let text = "a\r\n\t\0\u{1b}[0m\u{7f}\u{85}\u{2028}\u{2029}\u{202a}\u{2066}\u{200f}\u{61c}z";
    let escaped = "a\\r\\n\\t\\u{0}\\u{1b}[0m\\u{7f}\\u{85}\\u{2028}\\u{2029}\\u{202a}\\u{2066}\
                   \\u{200f}\\u{61c}z";
    assert_eq!(&*foreign(text, &NoSecrets), escaped);
    assert_eq!(OneLine(text).to_string(), escaped);
}

#[test]
fn secret_is_replaced_before_the_text_is_cut() {
    let text = format!("{}{}", "a".repeat(195), SECRET.0);
    assert_eq!(*foreign(&text, &SECRET), format!("{}…", "a".repeat(195)));
}

#[test]
fn text_beyond_4_kib_is_ignored() {
    let hidden = SECRET.0.repeat(300);
    let text = format!("{hidden} and more");
    assert_eq!(&*foreign(&text, &SECRET), "[redacted]…");
    let wide = "ü".repeat(4096);
    assert_eq!(foreign(&wide, &SECRET).chars().count(), 200);
}

#[test]
fn adjacent_runs_are_replaced_once() {
    let text = format!("key {0}{0}, {0}", SECRET.0);
    assert_eq!(&*foreign(&text, &SECRET), "key [redacted], [redacted]");
}

#[test]
fn text_is_withheld_with_too_many_secrets() {
    let is = foreign("bad token", &TooMany);
    assert_eq!(&*is, "[withheld: too many secrets to look for]");
    assert_eq!(&*foreign("", &TooMany), "");
}

proptest! {
    #[test]
    fn any_text_becomes_short_and_one_line(text in any::<String>(), times in 0_usize..400) {
        for text in [text.clone(), text.repeat(times)] {
            let is = foreign(&text, &SECRET);
            prop_assert!(is.chars().count() <= 200);
            prop_assert!(!is.contains(char::is_control));
            prop_assert_eq!(OneLine(&is).to_string(), &*is, "escaping again changes nothing");
        }
    }

    #[test]
    fn printable_text_is_unchanged(text in "\\PC{0,60}") {
        prop_assume!(!text.contains(super::is_unprintable));
        prop_assert_eq!(&*foreign(&text, &NoSecrets), text);
    }
}
