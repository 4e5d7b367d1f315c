//! The engine does what the reference model says.

#[test]
fn the_engine_and_the_reference_model_agree_after_every_step() {
    for seed in 1..=12 {
        assert_eq!(driftline_sim::compare(seed, 200), None);
    }
}
