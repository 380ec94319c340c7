//! Rules that choose frames, against numpy and the programs that they are named after.

use burn_vlm_data::video::{MAX_CHOSEN, Sampling};

fn indices(rule: Sampling, total: usize, fps: Option<f64>) -> Vec<usize> {
    rule.indices("a", total, fps).unwrap()
}

/// By numpy 2.4.6. In the first, whole numbers would give 63 for k = 45, which numpy's product with a rounded step misses.
#[test]
fn linspace_is_numpys() {
    let linspace = |total, frames| indices(Sampling::Linspace { frames }, total, None);
    let numpy = [
        0, 1, 2, 4, 5, 7, 8, 9, 11, 12, 14, 15, 16, 18, 19, 21, 22, 23, 25, 26, 28, 29, 30, 32, 33, 35, 36, 37, 39, 40,
        42, 43, 44, 46, 47, 49, 50, 51, 53, 54, 56, 57, 58, 60, 61, 62, 64, 65, 67, 68, 70,
    ];
    assert_eq!(linspace(71, 51), numpy);
    assert_eq!(linspace(90, 8), [0, 12, 25, 38, 50, 63, 76, 89]);
    assert_eq!(linspace(3, 8), [0, 0, 0, 0, 1, 1, 1, 2]);
    assert_eq!((linspace(1, 3), linspace(5, 1)), (vec![0; 3], vec![0]));
}

/// The three rules of one library, for 90 frames and 8, and where there are too few.
#[test]
fn rules_of_transformers() {
    let fourth = |total, frames| indices(Sampling::Transformers4 { frames }, total, None);
    let fifth = |total, frames| Sampling::Transformers5 { frames }.indices("clip.mp4", total, None);
    assert_eq!(fourth(90, 8), [0, 11, 22, 33, 44, 55, 66, 77]);
    assert_eq!(fourth(3, 4), [0; 4]);
    // 17 / 7 is a little below the fraction, so that an eighth fits in: by numpy 2.4.6.
    assert_eq!(fourth(17, 7), [0, 2, 4, 6, 8, 10, 12, 14]);
    assert_eq!((Sampling::Transformers4 { frames: 7 }).frames(), None);
    assert_eq!(fifth(90, 8).unwrap(), [0, 11, 22, 33, 45, 56, 67, 78]);
    let error = fifth(3, 4).unwrap_err().to_string();
    assert!(error.contains("clip.mp4") && error.contains("chooses 4") && error.contains("has 3"), "{error}");
}

#[test]
fn the_training_rule() {
    let rule = |fps, upper_bound, force| Sampling::Fps { fps, upper_bound, force };
    assert_eq!(indices(rule(1.0, None, false), 90, Some(30.0)), [0, 30, 60]);
    // 17.53 frames a second: every 18th.
    assert_eq!(indices(rule(1.0, Some(32), false), 90, Some(1350.0 / 77.0)), [0, 18, 36, 54, 72]);
    assert_eq!(indices(rule(1.0, Some(2), false), 90, Some(30.0)), [0, 89]);
    assert_eq!(indices(rule(1.0, Some(4), true), 90, Some(30.0)), [0, 29, 59, 89]);
    // Python rounds 2.5 to 2 and 3.5 to 4.
    assert_eq!(indices(rule(1.0, None, false), 7, Some(2.5)), [0, 2, 4, 6]);
    assert_eq!(indices(rule(1.0, None, false), 7, Some(3.5)), [0, 4]);
    // A frame in three seconds: a step of 0, with which the training code fails.
    assert_eq!(indices(rule(1.0, None, false), 3, Some(0.3)), [0, 1, 2]);
    let error = rule(1.0, None, false).indices("folder", 3, None).unwrap_err().to_string();
    assert!(error.contains("folder") && error.contains("fps"), "{error}");
    let error = rule(30.0, None, false).indices("long", MAX_CHOSEN + 1, Some(30.0)).unwrap_err().to_string();
    assert!(error.contains("upper_bound") && error.contains("long"), "{error}");
}

#[test]
fn rules_that_make_no_sense_and_what_is_written() {
    for rule in [
        Sampling::Linspace { frames: 0 },
        Sampling::Transformers4 { frames: MAX_CHOSEN + 1 },
        Sampling::Fps { fps: 0.0, upper_bound: None, force: false },
        Sampling::Fps { fps: f64::NAN, upper_bound: None, force: false },
        Sampling::Fps { fps: 1.0, upper_bound: Some(0), force: false },
        Sampling::Fps { fps: 1.0, upper_bound: None, force: true },
    ] {
        assert!(rule.indices("a", 9, Some(1.0)).is_err(), "{rule:?}");
    }
    assert!(Sampling::Linspace { frames: 3 }.indices("a", 0, None).is_err());
    for (rule, text) in [
        (Sampling::Linspace { frames: 32 }, r#"{"rule":"linspace","frames":32}"#),
        (Sampling::Transformers5 { frames: 8 }, r#"{"rule":"transformers-5","frames":8}"#),
        (Sampling::Transformers4 { frames: 8 }, r#"{"rule":"transformers-4","frames":8}"#),
        (
            Sampling::Fps { fps: 1.0, upper_bound: Some(32), force: true },
            r#"{"rule":"fps","fps":1.0,"upper_bound":32,"force":true}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        assert_eq!(serde_json::from_str::<Sampling>(text).unwrap(), rule);
        assert!(text.contains(rule.name()));
    }
    assert_eq!(Sampling::Fps { fps: 1.0, upper_bound: Some(32), force: true }.frames(), Some(32));
    assert_eq!(Sampling::Fps { fps: 1.0, upper_bound: Some(32), force: false }.frames(), None);
    assert!(serde_json::from_str::<Sampling>(r#"{"rule":"linspace","frames":32,"fps":1}"#).is_err());
    assert!(serde_json::from_str::<Sampling>(r#"{"rule":"uniform","frames":32}"#).is_err());
}
