#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tower_failover_fuzz::jwt::run(bytes));
