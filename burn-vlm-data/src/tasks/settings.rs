//! Settings of the tasks that have any.

use super::SceneSettings;

/// What a recipe may say of single tasks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskSettings {
    /// Which scenes.
    pub scenes: SceneSettings,
}
