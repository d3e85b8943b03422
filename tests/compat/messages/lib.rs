//! The tests of this package are all that is in it.
