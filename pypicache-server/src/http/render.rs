//! Pages as bytes: written and compressed once per revision, then handed out as they are.

use std::io::Write as _;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::header::HeaderValue;
use moka::sync::Cache;
use pypicache_core::model::{FilePath, ProjectList, ProjectName, ProjectPage, Sha256};
use pypicache_core::simple;
use pypicache_core::source::View;
use tokio::sync::OnceCell;

use crate::http::negotiate::{Encoding, Representation};

/// On pages, level 2 packs within four per cent of level 4, in half its time, and smaller than other servers' level 6.
const GZIP_LEVEL: Compression = Compression::new(2);

/// The level that zstd itself takes for the usual one.
const ZSTD_LEVEL: i32 = 3;

/// How many digits of a revision's digest its tags have.
const ETAG_DIGITS: usize = 32;

/// How many bytes of rendered pages are kept.
const MEMORY: u64 = 32 * 1024 * 1024;

/// The same of first answers to clients on this machine.
const MEMORY_FOR_FIRST_RESPONSES: u64 = 8 * 1024 * 1024;

/// For how many pages it is remembered which revision such a client has got.
const LAST_SERVED: u64 = 10_000;

/// Pages with more files than this are rendered off the runtime's threads.
const LARGE: usize = 300;

/// One representation of one revision.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    pub(crate) body: Bytes,
    /// Its entity tags.
    pub(crate) etags: Etags,
}

/// The entity tags of one revision, one for each encoding: strong, with quotes.
#[derive(Debug, Clone)]
pub(crate) struct Etags(Arc<[HeaderValue; Encoding::ALL.len()]>);

impl Etags {
    fn of_revision(plain: &[u8]) -> Self {
        let digest = Sha256::of(plain).to_hex();
        let digits = &digest[..ETAG_DIGITS];
        Self(Arc::new(Encoding::ALL.map(|encoding| etag_in(digits, encoding))))
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[HeaderValue] {
        &*self.0
    }

    /// The one in this encoding.
    pub(crate) fn of(&self, encoding: Encoding) -> &HeaderValue {
        &self.0[encoding as usize]
    }
}

/// The number of an index, and what it shows.
pub(crate) type IndexView = (usize, View);

/// A page in one representation.
type Key = (IndexView, ProjectName, Representation);

/// One revision, rendered by whoever came first; the others wait for it.
#[derive(Clone)]
struct Slot {
    of: Arc<ProjectPage>,
    rendered: Arc<OnceCell<Rendered>>,
}

/// Rendered pages, by index and view, project and representation.
pub(crate) struct Renderer {
    pages: Cache<Key, Slot>,
    /// First answers to clients on this machine. They are large and seldom wanted twice.
    first_responses: Cache<Key, Slot>,
    /// The revision that such a client has got last.
    last_served: Cache<(IndexView, ProjectName), Weak<ProjectPage>>,
}

/// Where the bytes of an answer are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retain {
    /// As long as there is room.
    Long,
    /// For those who ask at the same time.
    Short,
}

impl Renderer {
    pub(crate) fn new() -> Self {
        let weigh = |_: &Key, slot: &Slot| {
            let length = slot.rendered.get().map_or(0, |rendered| rendered.body.len());
            u32::try_from(length + 500).unwrap_or(u32::MAX)
        };
        let of_size = |bytes| Cache::builder().weigher(weigh).max_capacity(bytes).build();
        Self {
            pages: of_size(MEMORY),
            first_responses: of_size(MEMORY_FOR_FIRST_RESPONSES),
            last_served: Cache::new(LAST_SERVED),
        }
    }

    /// The page's bytes for a client, on this machine or elsewhere, and how they are written.
    pub(crate) async fn page_for(
        &self,
        is_local: bool,
        index_view: IndexView,
        page: &Arc<ProjectPage>,
        wanted: Representation,
    ) -> (Rendered, Representation) {
        let key = (index_view, page.name.clone(), wanted);
        let kept = self.slot(&self.pages, &key, page);
        // Nearly always: it is at hand in just this form.
        if let Some(rendered) = kept.as_ref().and_then(|slot| slot.rendered.get()) {
            return (rendered.clone(), wanted);
        }
        let (representation, keep) = match is_local {
            true => self.for_local_client(index_view, page, wanted),
            false => (wanted, Retain::Long),
        };
        let rendered = self.page(index_view, page, (representation, keep)).await;
        (rendered, representation)
    }

    /// The representation that a client on this machine gets: a revision that none has got yet is not packed for it,
    /// since packing costs both sides more than it saves between two processes.
    fn for_local_client(
        &self,
        index_view: IndexView,
        page: &Arc<ProjectPage>,
        wanted: Representation,
    ) -> (Representation, Retain) {
        let plain = Representation {
            encoding: Encoding::Identity,
            ..wanted
        };
        let of = |representation| (index_view, page.name.clone(), representation);
        let is_done = |slot: Slot| slot.rendered.initialized();
        let is_kept = |representation| {
            self.slot(&self.pages, &of(representation), page)
                .is_some_and(is_done)
        };
        if wanted == plain || is_kept(wanted) || is_kept(plain) {
            return (wanted, Retain::Long);
        }
        let key = (index_view, page.name.clone());
        let has_got = |last: Weak<ProjectPage>| Weak::ptr_eq(&last, &Arc::downgrade(page));
        // Who asks while the first answer is being written shares it.
        let is_being_written = |slot: Slot| !slot.rendered.initialized();
        if self.last_served.get(&key).is_some_and(has_got)
            && !self
                .slot(&self.first_responses, &of(plain), page)
                .is_some_and(is_being_written)
        {
            return (wanted, Retain::Long);
        }
        self.last_served.insert(key, Arc::downgrade(page));
        (plain, Retain::Short)
    }

    /// The page's bytes in one representation.
    async fn page(
        &self,
        index_view: IndexView,
        page: &Arc<ProjectPage>,
        (representation, keep): (Representation, Retain),
    ) -> Rendered {
        let key = (index_view, page.name.clone(), representation);
        let slots = match keep {
            Retain::Long => &self.pages,
            Retain::Short => &self.first_responses,
        };
        let slot = match self.slot(slots, &key, page) {
            Some(slot) => slot,
            None => self.begun(slots, &key, page),
        };
        if let Some(rendered) = slot.rendered.get() {
            return rendered.clone();
        }
        let render = async || match page.files.len() > LARGE {
            true => render_elsewhere(page.clone(), representation).await,
            false => render_page(page, representation),
        };
        let rendered = slot.rendered.get_or_init(render).await.clone();
        // Once more, now that its weight is known.
        slots.insert(key, slot);
        rendered
    }

    fn slot(&self, slots: &Cache<Key, Slot>, key: &Key, page: &Arc<ProjectPage>) -> Option<Slot> {
        let slot = slots.get(key)?;
        Arc::ptr_eq(&slot.of, page).then_some(slot)
    }

    /// A slot that everybody who asks for this revision from now on finds.
    fn begun(&self, slots: &Cache<Key, Slot>, key: &Key, page: &Arc<ProjectPage>) -> Slot {
        let new = || Slot {
            of: page.clone(),
            rendered: Arc::default(),
        };
        let is_older = |slot: &Slot| !Arc::ptr_eq(&slot.of, page);
        let entry = slots.entry_by_ref(key);
        entry.or_insert_with_if(new, is_older).into_value()
    }
}

async fn render_elsewhere(page: Arc<ProjectPage>, representation: Representation) -> Rendered {
    let copy = page.clone();
    let rendered = tokio::task::spawn_blocking(move || render_page(&copy, representation)).await;
    // Only a runtime that is being stopped refuses the work.
    rendered.unwrap_or_else(|_| render_page(&page, representation))
}

/// Links are relative to the page: they hold behind any host name, port and path prefix.
fn render_page(page: &ProjectPage, representation: Representation) -> Rendered {
    let href = |path: &FilePath| format!("../../files/{}", path.to_encoded());
    finish(
        simple::write_page(representation.format, page, &href),
        representation,
    )
}

/// The project list's bytes.
pub(crate) fn render_list(list: &ProjectList, representation: Representation) -> Rendered {
    finish(simple::write_list(representation.format, list), representation)
}

#[expect(clippy::expect_used, reason = "hexadecimal digits and names of encodings")]
fn etag_in(digits: &str, encoding: Encoding) -> HeaderValue {
    let text = match encoding.name() {
        None => format!("\"{digits}\""),
        Some(name) => format!("\"{digits}-{name}\""),
    };
    HeaderValue::try_from(text).expect("digits, letters and quotes are good in a header")
}

fn finish(plain: Vec<u8>, representation: Representation) -> Rendered {
    let etags = Etags::of_revision(&plain);
    let mut body = match representation.encoding {
        Encoding::Identity => plain,
        Encoding::Gzip => gzip(&plain),
        Encoding::Zstd => zstd(&plain),
    };
    // It was guessed how long it would be, and it is kept.
    body.shrink_to_fit();
    Rendered {
        body: body.into(),
        etags,
    }
}

#[expect(
    clippy::expect_used,
    reason = "compressing memory to memory at a level that exists"
)]
fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, ZSTD_LEVEL).expect("only memory is needed")
}

#[expect(clippy::expect_used, reason = "a Vec takes whatever is written to it")]
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), GZIP_LEVEL);
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}
