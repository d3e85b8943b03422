//! The compiler's messages for common mistakes.
//!
//! The messages quote sources, also of this crate, and differ between compiler versions:
//! `TRYBUILD=overwrite` updates them; read them before committing.

#[test]
fn usual_mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
