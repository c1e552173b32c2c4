//! Faults on demand, for tests of what the supervisor makes of them. Only debug builds have this.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use lightstick_sfu::{Fault, MediaPlane};
use lightstick_tasks::Tasks;
use lightstick_types::ShardId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

#[derive(Clone)]
struct Faults {
    media: MediaPlane,
    task: Arc<Notify>,
}

/// `POST /faults/media/{shard}/{panic,poller}`, `POST /faults/task`.
pub(crate) fn router(media: MediaPlane, tasks: &mut Tasks, ended: CancellationToken) -> Router {
    let task = Arc::<Notify>::default();
    let asked = Arc::clone(&task);
    tasks.spawn("fault", async move {
        let asked = ended.run_until_cancelled(asked.notified());
        if asked.await.is_some() {
            fail();
        }
    });
    Router::new()
        .route("/faults/media/{shard}/{fault}", post(in_media))
        .route("/faults/task", post(in_task))
        .with_state(Faults { media, task })
}

fn fail() {
    panic!("a test asked for it");
}

async fn in_media(
    State(faults): State<Faults>,
    Path((shard, fault)): Path<(u16, String)>,
) -> StatusCode {
    let fault = match fault.as_str() {
        "panic" => Fault::Panic,
        "poller" => Fault::Poller,
        _ => return StatusCode::NOT_FOUND,
    };
    match faults.media.cause(ShardId(shard), fault) {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::NOT_FOUND,
    }
}

async fn in_task(State(faults): State<Faults>) -> StatusCode {
    faults.task.notify_one();
    StatusCode::NO_CONTENT
}
