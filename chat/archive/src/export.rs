//! A room's messages as lines of JSON.

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;
use lightstick_types::RoomName;

use crate::archive::Archive;
use crate::entry::HistoryQuery;
use crate::error::ArchiveError;
use crate::store::EXPORT_PAGE;

impl Archive {
    /// A room's messages as lines of JSON, each a [`crate::MessageEntry`]; one chunk a page of the database, read when
    /// it is asked for. Messages that come meanwhile may be in it or not.
    pub fn export(
        &self,
        room: RoomName,
        query: HistoryQuery,
    ) -> impl Stream<Item = Result<Bytes, ArchiveError>> + Send + 'static {
        let archive = self.clone();
        try_unfold(Some(query), move |query| {
            let (archive, room) = (archive.clone(), room.clone());
            async move {
                let Some(mut query) = query else {
                    return Ok(None);
                };
                let page = archive.history(&room, &query, EXPORT_PAGE).await?;
                if page.messages.is_empty() {
                    return Ok(None);
                }
                let mut lines = Vec::new();
                for message in &page.messages {
                    serde_json::to_writer(&mut lines, message).expect("entries are plain values");
                    lines.push(b'\n');
                }
                let next = page.next.map(|id| {
                    let bound = if query.newest_first {
                        &mut query.before_id
                    } else {
                        &mut query.after_id
                    };
                    *bound = Some(id);
                    query
                });
                Ok(Some((Bytes::from(lines), next)))
            }
        })
    }
}
