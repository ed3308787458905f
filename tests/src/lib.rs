//! The harness of the tests: one file for each thing a test starts or makes.
