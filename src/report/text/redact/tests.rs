use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{Redact, hidden};
use crate::report::text::foreign;

struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    fn one(secret: &str) -> Self {
        Self(vec![secret.into()])
    }
}

impl Redact for Secrets {
    fn visit_secrets(&self, f: &mut dyn FnMut(&[u8])) {
        self.0.iter().for_each(|secret| f(secret));
    }
}

fn redacted(text: &str, secret: &str) -> String {
    foreign(text, &Secrets::one(secret)).into()
}

#[test]
fn secret_is_found_in_each_form() {
    let rows = [
        // The secret, the text, the result.
        ("sk-1234567", "key sk-1234567.", "key [redacted]."),
        ("sk-1234567", "key sk-12345", "key [redacted]"),
        ("sk-1234567", "key sk-1234", "key sk-1234"),
        ("sk-1234567", "...k-1234567...", "...[redacted]..."),
        ("sk-1234567", "k-12345 67", "k-12345 67"),
        ("sk-12/4567", "k=sk-12%2F4567", "k=[redacted]"),
        ("sk-12/4567", "k=sk-12%2f4567", "k=[redacted]"),
        ("sk-1234567", "k=%73%6B%2D%31%32", "k=[redacted]"),
        ("sk-1234567", "k=%73%6B", "k=%73%6B"),
        ("sk-1%34567", "k=sk-1%34567", "k=[redacted]"),
        ("sk-1%34567", "k=sk-1%2534567", "k=[redacted]"),
        ("ab/de/gh/j", r#"{"k":"ab\/de\/gh\/j"}"#, r#"{"k":"[redacted]"}"#),
        (r"a\\c\\f\\i", r"a\\c\\f\\%69", "[redacted]"),
        ("sk-1234567", r"\u0073k\u002d1234567", "[redacted]"),
        // The preceding bytes make the first ones look like an escape.
        ("41bcdefg", "%41bcdefg", "%[redacted]"),
        ("1bcdefgh", "%41bcdefgh", "%4[redacted]"),
        ("41bcd%fg", "%41bcd%25fg", "%[redacted]"),
        // A secret of less than eight bytes, only as a whole.
        ("abc", "abcd xab", "[redacted]d xab"),
        ("hunter2", "hunter2 hunter", "[redacted] hunter"),
        ("hunter2", "h%75nter2", "[redacted]"),
        ("x", "axa", "a[redacted]a"),
        ("", "axa", "axa"),
        // Both alphabets of base64, and text that looks like it.
        (">>>>>>>>>", "Pj4-Pj4-Pj4-", "[redacted]"),
        ("sk?>sk?>sk", "c2s_PnNrPz5zaw==", "[redacted]w=="),
        ("sk?>sk?>sk", "c2s/PnNrPz5zaw==", "[redacted]w=="),
        ("sk?>sk?>sk", "c2s%2FPnNrPz5zaw%3D%3D", "[redacted]w%3D%3D"),
    ];
    for (secret, text, shown) in rows {
        assert_eq!(redacted(text, secret), shown, "{secret} in {text}");
    }
}

#[test]
fn base64_is_found_at_each_alignment() {
    for before in ["", "a", "ab", "abc", "user:"] {
        let encoded = STANDARD.encode(format!("{before}correct-horse"));
        let shown = redacted(&encoded, "correct-horse");
        let (start, _) = shown.split_once("[redacted]").expect("it is found");
        assert!(encoded.starts_with(start));
        assert!(start.len() <= before.len() * 8 / 6 + 1, "{shown} of {encoded}");
    }
}

#[test]
fn run_inside_a_character_hides_the_character() {
    let secrets = Secrets(vec!["größe-größe".as_bytes()[3..12].to_vec()]);
    assert_eq!(&*foreign("größe-größe", &secrets), "gr[redacted]ße");
}

#[test]
fn long_token_is_hidden_whole_and_nothing_else() {
    let token: String = (0_u32..3000).map(|at| char::from(b'!' + (at * at % 89) as u8)).collect();
    let shown = redacted(&format!("no such token: {token}, sorry"), &token);
    assert_eq!(shown, "no such token: [redacted], sorry");
    let encoded = STANDARD.encode(&token[..2700]);
    let shown = redacted(&format!("no such token: {encoded}, sorry"), &token);
    assert_eq!(shown, "no such token: [redacted], sorry");
}

#[test]
fn costly_text_is_hidden_whole() {
    let secret = "\\".repeat(300);
    let text = format!("a{}", "\\".repeat(4000));
    assert_eq!(redacted(&text, &secret), "[redacted]");
    assert_eq!(redacted(&format!("a{}", "%25".repeat(1000)), &"%25".repeat(20)), "a[redacted]");
}

#[test]
fn nothing_is_hidden_without_a_secret() {
    assert!(hidden(b"text", &Secrets(Vec::new())).is_empty());
}

/// The oracle: returns whether the output holds eight consecutive bytes of the secret as it was
/// spelled, which are not in the `rest` of the text too.
fn leaks(shown: &str, spelled: &str, rest: &str) -> bool {
    let shows = |text: &str, run| text.as_bytes().windows(8).any(|seen| seen == run);
    let mut runs = spelled.as_bytes().windows(8);
    runs.any(|run| shows(shown, run) && !shows(rest, run))
}

/// Percent-encodes the bytes that need it and those that `also` selects, in the case that `lower` selects.
fn percent(secret: &str, also: &[bool], lower: &[bool]) -> String {
    let flags = also.iter().cycle().zip(lower.iter().cycle());
    let bytes = secret.bytes().zip(flags);
    bytes
        .map(|(byte, (&also, &lower))| match byte {
            b if !also && b != b'%' => char::from(b).to_string(),
            b if lower => format!("%{b:02x}"),
            b => format!("%{b:02X}"),
        })
        .collect()
}

proptest! {
    #[test]
    fn i9_no_run_of_a_secret_survives(
        secret in "[!-~]{8,64}",
        others in vec("[!-~]{0,40}", 0..4),
        before in "\\PC{0,40}|[%0-9A-Fu\\\\]{0,12}|[A-Za-z0-9+/_-]{0,40}",
        after in "\\PC{0,40}|[%0-9A-F\\\\]{0,12}|[A-Za-z0-9+/_=-]{0,40}",
        inside in vec(any::<u8>(), 0..7),
        behind in vec(any::<u8>(), 0..7),
        also in vec(any::<bool>(), 1..9),
        lower in vec(any::<bool>(), 1..9),
        control in prop::option::of("[\0-\u{1f}\u{2028}\u{202e}]"),
        place in any::<Index>(),
    ) {
        let around = [&inside, secret.as_bytes(), &behind].concat();
        let json = secret.replace('\\', "\\\\").replace('"', "\\\"").replace('/', "\\/");
        let spellings = [
            secret.clone(),
            percent(&secret, &also, &lower),
            percent(&secret, &[true], &lower),
            json,
            STANDARD.encode(&around),
            URL_SAFE.encode(&around),
            URL_SAFE_NO_PAD.encode(&around),
            percent(&STANDARD.encode(&around), &also, &lower),
        ];
        let mut all = others.clone();
        all.insert(place.index(others.len() + 1), secret.clone());
        let secrets = Secrets(all.into_iter().map(String::into_bytes).collect());
        for (which, spelled) in spellings.iter().enumerate() {
            // In base64, only the digits that depend on the secret alone count.
            let own = match which {
                4..=7 => digits(spelled, inside.len(), secret.len()),
                _ => spelled,
            };
            let (first, last) = spelled.split_once(own).expect("its own part");
            let control = control.as_deref().unwrap_or_default();
            let text = format!("{before}{control}{spelled}{control}{after}");
            let rest = format!("{before}{control}{first}\n{last}{control}{after}");
            let shown = foreign(&text, &secrets);
            prop_assert!(!leaks(&shown, own, &rest), "{} in {} is shown as {}", own, text, shown);
            prop_assert!(!leaks(&shown, &secret, &rest), "{} in {} is shown as {}", secret, text, shown);
        }
    }

    #[test]
    fn short_secret_is_replaced_where_it_is_whole(
        secret in "[!-~]{1,7}",
        before in "[ -~]{0,40}",
        after in "[ -~]{0,40}",
        also in vec(any::<bool>(), 1..9),
    ) {
        prop_assume!(!"[redacted]…".contains(&secret));
        for spelled in [secret.clone(), percent(&secret, &also, &[false])] {
            let shown = redacted(&format!("{before}{spelled}{after}"), &secret);
            prop_assert!(!shown.replace("[redacted]", "\n").contains(&spelled), "{}", shown);
        }
    }

    #[test]
    fn runs_are_those_of_a_naive_search(
        secret in "[ab]{1,12}",
        text in "[ab]{0,40}",
    ) {
        let most = secret.len().min(8);
        let mut naive = vec![false; text.len()];
        for window in secret.as_bytes().windows(most) {
            for start in 0..text.len() {
                if text.as_bytes()[start..].starts_with(window) {
                    naive[start..start + most].fill(true);
                }
            }
        }
        prop_assert_eq!(hidden(text.as_bytes(), &Secrets::one(&secret)), naive);
    }
}

/// Returns the base64 digits, some of them percent-encoded, that depend on the secret alone.
fn digits(spelled: &str, inside: usize, secret: usize) -> &str {
    let mut places = vec![0];
    while let Some(rest) = spelled.get(places[places.len() - 1]..).filter(|rest| !rest.is_empty()) {
        let len = if rest.starts_with('%') { 3 } else { 1 };
        places.push(spelled.len() - rest.len() + len);
    }
    &spelled[places[(inside * 8).div_ceil(6)]..places[(inside + secret) * 8 / 6]]
}
