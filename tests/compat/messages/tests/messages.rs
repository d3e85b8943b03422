//! What the compiler says of the usual mistakes, word for word.
//!
//! The compiler quotes sources, ours too, and a new one may use other words: `TRYBUILD=overwrite`
//! writes down what is said now, to be read before it is committed.

#[test]
fn usual_mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
