#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lightstick_fuzz::relay_control(data));
