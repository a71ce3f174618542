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
    Mount {
        holder: String,
    },
    Unmount {
        holder: String,
    },
    Destroy,
    /// It may hold so much now; `None`: as much as there is room.
    Resize {
        bytes: Option<u64>,
    },
    /// It holds more than its soft limit.
    SoftLimit {
        used: u64,
        soft: u64,
    },
    Rename {
        from: String,
    },
    /// It left the trash before its time: beyond its `limit`, or on a filesystem that is `full`.
    Purge {
        bytes: u64,
        why: &'static str,
    },
    Prune {
        reclaimed: u64,
    },
}
