//! The guide describes every code, and no other.

use crate::{
    classify::{Code, Reason},
    pool::State,
    report::TokenEventKind,
};

const START: &str = include_str!("start.md");
const CODES: &str = include_str!("codes.md");
const CHECKLIST: &str = include_str!("checklist.md");
const ACCOUNTS: &str = include_str!("accounts.md");
const MODELS: &str = include_str!("models.md");
const STACK: &str = include_str!("stack.md");
const JOBS: &str = include_str!("jobs.md");

/// The parts of each section, in this order.
const PARTS: [&str; 4] = [
    "**What it means.**",
    "**How to check it.**",
    "**What to do.**",
    "**What to tell your users.**",
];

/// Words that begin like a code and are events or names of the API.
const NO_CODES: [&str; 5] =
    ["credential_expiring", "credential_from", "pool_dead", "pin_job", "not_resent"];

/// The parts, in the order of the page.
fn guide() -> String {
    [START, CODES, CHECKLIST, ACCOUNTS, MODELS, STACK, JOBS].join("\n")
}

/// Returns the sections of the codes: heading, and text.
fn sections(codes: &str) -> Vec<(&str, &str)> {
    codes
        .split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap_or((section, "")))
        .map(|(heading, text)| (heading.trim_matches('`'), text))
        .collect()
}

/// Returns the faults of the sections.
fn faults(codes: &str) -> Vec<String> {
    let sections = sections(codes);
    let mut faults = Vec::new();
    for code in Code::ALL {
        let own: Vec<_> = sections.iter().filter(|(name, _)| *name == code.as_str()).collect();
        let [(_, text)] = own[..] else {
            faults.push(format!("{code} has {} sections", own.len()));
            continue;
        };
        let places: Vec<_> = PARTS.iter().map(|part| text.find(part)).collect();
        if places.iter().any(Option::is_none) || !places.is_sorted() {
            faults.push(format!("{code} does not say {PARTS:?}, in this order"));
        }
        if !text.contains(&["Code::", &variant(code)].concat()) {
            faults.push(format!("no example shows {code}"));
        }
    }
    for (name, _) in sections {
        if !Code::ALL.iter().any(|code| code.as_str() == name) {
            faults.push(format!("`{name}` is not a code"));
        }
    }
    faults
}

/// Returns the name of the variant.
fn variant(code: Code) -> String {
    format!("{code:?}")
}

/// Returns the words that begin like a code and are none.
fn unknown(text: &str) -> Vec<&str> {
    let family = |word: &str| word.split_once('_').map(|(first, _)| first.to_owned());
    let families: Vec<_> = Code::ALL.iter().filter_map(|code| family(code.as_str())).collect();
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .filter(|word| family(word).is_some_and(|family| families.contains(&family)))
        .filter(|word| !Code::ALL.iter().any(|code| code.as_str() == *word))
        .filter(|word| !NO_CODES.contains(word))
        .collect()
}

/// Returns the anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || "-_".contains(c) => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    heading.trim_start_matches('#').trim().chars().filter_map(kept).collect()
}

/// Returns the lines outside of examples.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut example = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        example ^= fence;
        !example && !fence
    })
}

#[test]
fn section_exists_for_each_code_and_for_no_other_word() {
    assert_eq!(faults(CODES), [""; 0]);
    let order: Vec<_> = sections(CODES).into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, Code::ALL.map(|code| code.as_str()));
}

#[test]
fn list_of_codes_is_complete() {
    let source = include_str!("../classify/code.rs");
    let (_, variants) = source.split_once("pub enum Code {\n").unwrap();
    let (variants, _) = variants.split_once("\n}\n").unwrap();
    let variants = variants.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let variants: Vec<_> = variants.map(|line| line.trim_end_matches(',')).collect();
    assert_eq!(variants, Code::ALL.map(variant));
}

#[test]
fn fault_of_a_section_is_detected() {
    let without = |what: &str| faults(&CODES.replacen(what, "", 1)).len();
    for code in Code::ALL {
        assert_eq!(without(&format!("\n## `{code}`\n")), 1, "{code}");
        let twice = format!("{CODES}\n## `{code}`\n");
        assert_eq!(faults(&twice), [format!("{code} has 2 sections")]);
    }
    for part in PARTS {
        assert_eq!(without(part), 1, "{part}");
    }
    assert_eq!(faults(&format!("{CODES}\n## `pool_tired`\n")), ["`pool_tired` is not a code"]);
    assert_eq!(unknown("See `pool_tired`, `pool_dead` and `credential_Expired`."), ["pool_tired"]);
}

#[test]
fn word_like_a_code_is_a_code() {
    assert_eq!(unknown(&guide()), [""; 0]);
    // The first exception exists.
    let expiring =
        TokenEventKind::Expiring { expires_in: std::time::Duration::ZERO, expires_at: None };
    assert_eq!(expiring.as_str(), NO_CODES[0]);
}

#[test]
fn table_agrees_with_the_answers() {
    for code in Code::ALL {
        let refresh = match (code.requires_refresh(false), code.requires_refresh(true)) {
            (true, _) => "yes",
            (false, true) => "when the source can mint",
            (false, false) => "no",
        };
        let (http, grpc) = (code.status().as_u16(), code.grpc_status());
        let row = format!("| [`{code}`](#{code}) | {http} | {grpc} | {refresh} | ");
        assert_eq!(CODES.matches(&row).count(), 1, "{row}");
    }
    assert_eq!(CODES.matches("\n| [`").count(), Code::ALL.len());
}

#[test]
fn state_and_reason_are_described() {
    let states = [
        State::Usable,
        State::Cooling,
        State::Quarantined,
        State::Probing,
        State::Refreshing,
        State::Retired,
    ];
    for state in states {
        assert_eq!(START.matches(&format!("\n| `{state}` | ")).count(), 1, "{state}");
    }
    let reasons =
        [Reason::Missing, Reason::Expired, Reason::Revoked, Reason::Inactive, Reason::Invalid];
    for reason in reasons {
        let word = crate::report::OutReason::Rejected(reason).as_str();
        assert!(CHECKLIST.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn link_within_the_guide_has_a_heading() {
    let guide = guide();
    let anchors: Vec<_> = prose(&guide).filter(|line| line.starts_with('#')).map(anchor).collect();
    let mut links = 0;
    for line in prose(&guide) {
        for (at, _) in line.match_indices("](#") {
            let link = &line[at + 3..];
            let link = &link[..link.find(')').unwrap()];
            assert!(anchors.iter().any(|anchor| anchor == link), "{link}\n{anchors:#?}");
            links += 1;
        }
    }
    assert!(links > 30, "only {links} links seen");
    let mut once = anchors.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), anchors.len(), "two headings have one anchor");
}

#[test]
fn readme_links_to_headings_of_the_guide() {
    let readme = include_str!("../../README.md");
    let guide = guide();
    let anchors: Vec<_> = prose(&guide).filter(|line| line.starts_with('#')).map(anchor).collect();
    let mut links = 0;
    for (at, start) in readme.match_indices("/tower_failover/guide/index.html#") {
        let link = &readme[at + start.len()..];
        let link = &link[..link.find(')').unwrap()];
        assert!(anchors.iter().any(|anchor| anchor == link), "{link}\n{anchors:#?}");
        links += 1;
    }
    assert_eq!(links, 7, "one link for each page");
}
