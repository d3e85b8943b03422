//! Tests of the layers together.

mod defaults;
