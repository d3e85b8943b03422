//! This package consists of its tests.
