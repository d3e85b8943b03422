//! The guide knows every code, and no other.

use crate::{
    classify::{Code, Reason},
    pool::State,
    report::TokenNews,
};

const START: &str = include_str!("start.md");
const CODES: &str = include_str!("codes.md");
const CHECKLIST: &str = include_str!("checklist.md");
const ACCOUNTS: &str = include_str!("accounts.md");
const JOBS: &str = include_str!("jobs.md");

/// What each section says, in this order.
const PARTS: [&str; 4] = [
    "**What it means.**",
    "**How to check it.**",
    "**What to do.**",
    "**What to tell your users.**",
];

/// Words that begin like a code and are something else: events, and names of the API.
const NO_CODES: [&str; 4] = ["credential_expiring", "pool_dead", "pin_job", "not_resent"];

/// The five parts, as they stand on one page.
fn guide() -> String {
    [START, CODES, CHECKLIST, ACCOUNTS, JOBS].join("\n")
}

/// The sections of the codes: heading, and text.
fn sections(codes: &str) -> Vec<(&str, &str)> {
    codes
        .split("\n## ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap_or((section, "")))
        .map(|(heading, text)| (heading.trim_matches('`'), text))
        .collect()
}

/// What is wrong with the sections.
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
            faults.push(format!("`{name}` is no code"));
        }
    }
    faults
}

/// The name of the variant.
fn variant(code: Code) -> String {
    format!("{code:?}")
}

/// The words that begin like a code and are none.
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

/// The anchor that a heading gets.
fn anchor(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || "-_".contains(c) => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    heading.trim_start_matches('#').trim().chars().filter_map(kept).collect()
}

/// The lines outside of examples.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut example = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        example ^= fence;
        !example && !fence
    })
}

#[test]
fn every_code_has_a_section_of_its_own_and_no_other_word_has_one() {
    assert_eq!(faults(CODES), [""; 0]);
    let order: Vec<_> = sections(CODES).into_iter().map(|(name, _)| name).collect();
    assert_eq!(order, Code::ALL.map(|code| code.as_str()));
}

#[test]
fn the_list_of_codes_lacks_none() {
    let source = include_str!("../classify/code.rs");
    let (_, variants) = source.split_once("pub enum Code {\n").unwrap();
    let (variants, _) = variants.split_once("\n}\n").unwrap();
    let variants = variants.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let variants: Vec<_> = variants.map(|line| line.trim_end_matches(',')).collect();
    assert_eq!(variants, Code::ALL.map(variant));
}

#[test]
fn what_the_sections_lack_is_seen() {
    let without = |what: &str| faults(&CODES.replacen(what, "", 1)).len();
    for code in Code::ALL {
        assert_eq!(without(&format!("\n## `{code}`\n")), 1, "{code}");
        let twice = format!("{CODES}\n## `{code}`\n");
        assert_eq!(faults(&twice), [format!("{code} has 2 sections")]);
    }
    for part in PARTS {
        assert_eq!(without(part), 1, "{part}");
    }
    assert_eq!(faults(&format!("{CODES}\n## `pool_tired`\n")), ["`pool_tired` is no code"]);
    assert_eq!(unknown("See `pool_tired`, `pool_dead` and `credential_Expired`."), ["pool_tired"]);
}

#[test]
fn no_code_is_named_that_does_not_exist() {
    assert_eq!(unknown(&guide()), [""; 0]);
    // What is let through exists.
    let expiring = TokenNews::Expiring { expires_in: std::time::Duration::ZERO, expires_at: None };
    assert_eq!(expiring.as_str(), NO_CODES[0]);
}

#[test]
fn the_table_says_what_the_answers_say() {
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
fn every_state_and_every_reason_is_told() {
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
        let word = crate::report::OutReason::Refused(reason).as_str();
        assert!(CHECKLIST.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn every_link_within_the_guide_has_a_heading() {
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
fn the_readme_leads_here() {
    let readme = include_str!("../../README.md");
    assert_eq!(readme.matches("/tower_failover/guide/index.html").count(), 1);
}
