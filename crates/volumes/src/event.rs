//! What happened to a volume, for whoever listens.

/// One change, told after it has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeEvent {
    /// Name of the volume; empty for [`VolumeAction::Prune`].
    pub name: String,
    pub driver: String,
    pub action: VolumeAction,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeAction {
    Create,
    Mount { holder: String },
    Unmount { holder: String },
    Destroy,
    Prune { reclaimed: u64 },
}
