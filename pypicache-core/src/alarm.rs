//! What somebody has to look at: raised by sources, told to whoever embeds them, and written to the log in any case.

use std::fmt;
use std::sync::Arc;

/// Something that should not happen by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alarm {
    /// What sort of thing.
    pub kind: AlarmKind,
    /// The source that it is about.
    pub source: Arc<str>,
    /// The project or file.
    pub subject: String,
    /// In words.
    pub detail: String,
}

/// The sorts of alarms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AlarmKind {
    /// An index lists other bytes under a file name that was known.
    OtherBytes,
    /// An upstream sent other bytes than its page promises.
    WrongBytes,
    /// A name that belongs to an earlier source exists at a later one too.
    NameElsewhere,
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherBytes => "other-bytes",
            Self::WrongBytes => "wrong-bytes",
            Self::NameElsewhere => "name-elsewhere",
        })
    }
}

/// Who is told. Cheap to clone; by default nobody but the log.
///
/// ```
/// use pypicache_core::Alarms;
/// let alarms = Alarms::to(|alarm| eprintln!("{}: {}", alarm.kind, alarm.detail));
/// # let _ = alarms;
/// ```
#[derive(Clone, Default)]
pub struct Alarms(Option<Listener>);

type Listener = Arc<dyn Fn(&Alarm) + Send + Sync>;

impl Alarms {
    /// `listener` is called where an alarm is raised: it has to be quick.
    pub fn to(listener: impl Fn(&Alarm) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    pub(crate) fn raise(
        &self,
        kind: AlarmKind,
        source: &Arc<str>,
        subject: impl fmt::Display,
        detail: impl Into<String>,
    ) {
        let alarm = Alarm {
            kind,
            source: source.clone(),
            subject: subject.to_string(),
            detail: detail.into(),
        };
        tracing::error!(kind = %alarm.kind, %source, subject = alarm.subject, detail = alarm.detail, "ALARM");
        if let Some(listener) = &self.0 {
            listener(&alarm);
        }
    }
}

impl fmt::Debug for Alarms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Alarms(told)"
        } else {
            "Alarms(logged)"
        })
    }
}
