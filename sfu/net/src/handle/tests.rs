use crossbeam_channel::Receiver;

use super::*;

/// The other ends of a plane's ports.
struct Asleep {
    commands: Receiver<Command>,
    chat: Receiver<ChatCommand>,
    poll: Poll,
    running: Running,
}

/// A plane whose shards do not look at their queues.
fn asleep(shards: usize, capacity: usize) -> (MediaPlane, Vec<Asleep>) {
    let stats: Arc<[Arc<ShardStats>]> = (0..shards).map(|_| Arc::default()).collect();
    let made = stats.iter().map(|stats| {
        let poll = Poll::new().expect("a poller");
        let (chat, chat_inbox) = bounded(capacity);
        let (commands, inbox) = bounded(capacity);
        let (alive, running) = Running::new();
        let asleep = Asleep {
            commands: inbox,
            chat: chat_inbox,
            running: alive,
            poll,
        };
        let port = Port {
            commands,
            orders: unbounded().0,
            chat,
            chat_woken: Arc::default(),
            waker: Arc::new(Waker::new(asleep.poll.registry(), WAKER).expect("a waker")),
            running,
            #[cfg(debug_assertions)]
            faults: Faults::default(),
            stats: Arc::clone(stats),
        };
        (port, asleep)
    });
    let (ports, asleep): (Vec<_>, _) = made.unzip();
    let plane = MediaPlane {
        shards: ports.into(),
        stats,
        next: Arc::default(),
        chat_events: Arc::default(),
        taps: Arc::default(),
    };
    (plane, asleep)
}

fn unanswered(stats: &ShardStats) -> [u64; 3] {
    let counts = &stats.unanswered;
    [&counts.full, &counts.gone, &counts.lost].map(|count| count.load(Ordering::Relaxed))
}

#[tokio::test]
async fn full_gone_and_lost_are_three_errors() {
    let (plane, mut shards) = asleep(1, 1);
    let shard = shards.remove(0);
    let session = SessionId::random();
    let ask = || plane.choose(ShardId(0), session, ViewerChoice::default());
    let waiting = ask();
    tokio::pin!(waiting);
    let polled = futures_util::poll!(&mut waiting);
    assert!(polled.is_pending(), "{polled:?}");
    assert_eq!(ask().await, Err(ShardError::Full.into()));
    drop(shard.commands.recv());
    assert_eq!(waiting.await, Err(ShardError::Lost.into()));
    // What nobody has taken when the shard ends is not answered either.
    let waiting = ask();
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(shard);
    assert_eq!(waiting.await, Err(ShardError::Lost.into()));
    assert_eq!(ask().await, Err(ShardError::Gone.into()));
    assert_eq!(unanswered(&plane.stats[0]), [1, 1, 2]);
}

#[tokio::test]
async fn nobody_is_sent_to_a_shard_that_has_ended() {
    let (plane, mut shards) = asleep(3, 1);
    let mut chosen: Vec<_> = (0..6).filter_map(|_| plane.lightest()).collect();
    chosen.sort_unstable();
    assert_eq!(chosen, [0, 0, 1, 1, 2, 2].map(ShardId), "ties go round");
    let ended = shards.remove(1);
    drop(ended.running);
    let chosen: Vec<_> = (0..6).filter_map(|_| plane.lightest()).collect();
    assert!(
        chosen.len() == 6 && !chosen.contains(&ShardId(1)),
        "{chosen:?}"
    );
    // A room lives on its home: 1 of 3 for one of these.
    let mut refused = 0;
    for room in 0..3 {
        let opening = plane.open(OpenSession {
            session: SessionId::random(),
            room: RoomId(room),
            role: RoleConfig::Viewer {
                choice: lightstick_types::LayerChoice::Auto,
            },
            member: None,
            offer: "nonsense".to_owned(),
        });
        refused += usize::from(opening.await.err() == Some(ShardError::Gone.into()));
    }
    assert_eq!(refused, 1);
    drop(shards);
    assert_eq!(plane.lightest(), None);
    assert_eq!(unanswered(&plane.stats[1]), [0, 1, 0]);
}

#[test]
fn the_control_plane_keeps_half_of_the_descriptors() {
    for (wanted, descriptors, shards, connections) in [
        (1_024, None, 2, 1_024),
        (1_024, Some(1 << 20), 2, 1_024),
        (1_024, Some(1_024), 2, 256),
        (1_024, Some(1_024), 1, 512),
        (1_024, Some(10), 8, 0),
        (16, Some(1_024), 2, 16),
    ] {
        assert_eq!(tcp_connections(wanted, descriptors, shards), connections);
    }
}

#[test]
fn a_full_queue_gives_the_command_back_and_one_wake_up_is_enough() {
    let (plane, mut shards) = asleep(1, 3);
    let Asleep {
        chat: inbox,
        mut poll,
        ..
    } = shards.remove(0);
    let ids: Vec<SessionId> = (0..4).map(|_| SessionId::random()).collect();
    let close = |n: usize| plane.chat(ShardId(0), ChatCommand::Close { session: ids[n] });
    for n in 0..3 {
        close(n).expect("room in the queue");
    }
    match close(3) {
        Err(ChatCommand::Close { session }) => assert_eq!(session, ids[3]),
        other => panic!("{other:?} of a full queue"),
    }
    let mut events = mio::Events::with_capacity(8);
    let now = Some(std::time::Duration::ZERO);
    poll.poll(&mut events, now).expect("a poll");
    assert_eq!(events.iter().filter(|e| e.token() == WAKER).count(), 1);
    inbox.recv().expect("the first");
    close(3).expect("room in the queue");
    poll.poll(&mut events, now).expect("a poll");
    assert!(events.is_empty(), "the shard has not looked yet");
    plane.shards[0].chat_woken.store(false, Ordering::SeqCst);
    inbox.recv().expect("the second");
    close(0).expect("room in the queue");
    poll.poll(&mut events, now).expect("a poll");
    assert!(!events.is_empty(), "it has looked");
    drop(inbox);
    assert!(close(1).is_err(), "the shard is gone");
}
