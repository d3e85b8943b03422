//! The compiler's messages for common mistakes, word for word.
//!
//! The compiler quotes sources of this crate, and a new version may use other words:
//! `TRYBUILD=overwrite` records the current messages, to be reviewed before a commit.

#[test]
fn usual_mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
