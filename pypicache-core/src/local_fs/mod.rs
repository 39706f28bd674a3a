//! Files of ours on this machine's disk: who may use them, how paths out of other people's hands are opened, and locks.
//!
//! * [`Rights`] and the functions beside it make directories 0700 and files 0600 whatever the umask, owned by whoever owns
//!   the directory they are made in. A directory that is shared with a group on purpose hands that on.
//! * [`Beneath`] opens what lies below a directory: no link is followed, nothing above is reached, and only regular files
//!   are opened.
//! * [`FileLock`] waits for a lock for a limited time, and says who holds it.
//!
//! Imports: nothing else of the crate.

mod beneath;
mod lock;
mod rights;

pub use beneath::{Beneath, Kind};
pub use lock::{FileLock, LockTimeout};
pub use rights::{Rights, create_dir_all, create_root, open_or_create, prepare_dir};
