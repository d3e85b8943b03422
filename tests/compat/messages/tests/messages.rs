//! What the compiler says of the usual mistakes, word for word.
//!
//! A new compiler may say it in other words: `TRYBUILD=overwrite` writes them down, to be read.

#[test]
fn usual_mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
