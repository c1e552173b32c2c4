//! What is written is read, and what is wrong is refused for the right reason.

use lightstick_types::{NodeIdentity, NodeRole};
use proptest::prelude::*;

use super::*;
use crate::hello::VERSIONS;
use crate::route::Path;

fn any_name() -> impl Strategy<Value = RoomName> {
    "[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}".prop_map(|name| name.parse().expect("a name"))
}

fn any_route() -> impl Strategy<Value = Route> {
    let nodes = prop::collection::hash_set(any::<u32>(), 1..=HOPS_MAX);
    (any::<u64>(), nodes, any::<bool>()).prop_map(|(epoch, nodes, is_stale)| {
        let mut nodes = nodes.into_iter().map(NodeId);
        let path = Path::from_origin(nodes.next().expect("one"));
        let path = nodes.fold(path, |path, node| path.through(node).expect("short"));
        Route {
            epoch,
            path,
            is_stale,
        }
    })
}

fn any_node() -> impl Strategy<Value = NodeIdentity> {
    ("[a-z0-9.-]{1,63}", 0..4_usize, "[a-z0-9.-]{1,63}").prop_map(|(name, role, region)| {
        NodeIdentity {
            name: name.parse().expect("a name"),
            role: NodeRole::ALL[role],
            region: region.parse().expect("a region"),
        }
    })
}

fn bytes(len_max: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..=len_max).prop_map(Bytes::from)
}

fn any_message() -> impl Strategy<Value = Message> {
    let subscription = any::<u32>().prop_map(SubscriptionId);
    let alias = any::<u32>().prop_map(Alias);
    let valued = || (any::<u32>().prop_map(SubscriptionId), bytes(2_000));
    prop_oneof![
        (any::<u32>(), any_node()).prop_map(|(id, node)| Message::Hello(Hello {
            versions: VERSIONS,
            id: NodeId(id),
            node,
        })),
        (2..9_u16, 0..9_u16).prop_map(|(min, more)| Message::ForeignHello(Versions {
            min,
            max: min + more,
        })),
        (alias, any_name(), any_route()).prop_map(|(alias, room, route)| Message::Announce {
            alias,
            room,
            route
        }),
        (any::<u32>(), any_route()).prop_map(|(alias, route)| Message::Reroute {
            alias: Alias(alias),
            route,
        }),
        (any::<u32>(), any::<bool>()).prop_map(|(alias, has_ended)| Message::Withdraw {
            alias: Alias(alias),
            reason: match has_ended {
                true => Withdrawal::Ended,
                false => Withdrawal::Unreachable,
            },
        }),
        (any_name(), 0..HOPS_MAX as u8)
            .prop_map(|(room, hops_left)| Message::Want { room, hops_left }),
        any_name().prop_map(|room| Message::Unwant { room }),
        any_name().prop_map(|room| Message::Unknown { room }),
        (any::<u32>(), subscription, bytes(RESUME_MAX)).prop_map(
            |(alias, subscription, resume)| Message::Subscribe {
                alias: Alias(alias),
                subscription,
                resume,
            }
        ),
        any::<u32>().prop_map(|number| Message::Unsubscribe {
            subscription: SubscriptionId(number),
        }),
        (any::<u32>(), any::<bool>()).prop_map(|(number, drains)| Message::Refused {
            subscription: SubscriptionId(number),
            reason: match drains {
                true => Refusal::Draining,
                false => Refusal::NoSource,
            },
        }),
        valued().prop_map(|(subscription, payload)| Message::Up {
            subscription,
            payload,
        }),
        valued().prop_map(|(subscription, payload)| Message::Down {
            subscription,
            payload,
        }),
        (valued(), any::<u64>(), any::<u64>()).prop_map(
            |((subscription, state), epoch, version)| Message::Show {
                subscription,
                epoch,
                version,
                state,
            }
        ),
        (valued(), any::<u32>()).prop_map(|((subscription, payload), from)| Message::ChatUp {
            subscription,
            from: NodeId(from),
            payload,
        }),
        (valued(), proptest::option::of(any::<u32>())).prop_map(|((subscription, payload), to)| {
            Message::ChatDown {
                subscription,
                to: to.map(NodeId),
                payload,
            }
        }),
        any::<u32>().prop_map(|after_ms| Message::GoAway { after_ms }),
    ]
}

proptest! {
    #[test]
    fn messages_come_back_as_they_were(message in any_message()) {
        let bytes = message.encode();
        prop_assert!(bytes.len() <= CONTROL_MAX);
        prop_assert_eq!(Message::decode(bytes), Ok(message));
    }

    #[test]
    fn bytes_that_are_wrong_are_no_message_or_another(
        message in any_message(),
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let bytes = message.encode();
        let short = bytes.slice(..cut.index(bytes.len()));
        let mut wrong = bytes.to_vec();
        let at = at.index(wrong.len());
        wrong[at] = byte;
        for bytes in [short, wrong.into()] {
            if let Ok(message) = Message::decode(bytes.clone()) {
                // A hello of a later version says more than is read.
                let is_hello = matches!(message, Message::Hello(_) | Message::ForeignHello(_));
                prop_assert!(is_hello || message.encode() == bytes);
            }
        }
    }
}

#[test]
fn what_is_no_message() {
    let head = |kind: u8| vec![kind, 0, 0, 0, 1];
    let with = |kind: u8, rest: &[u8]| [&head(kind)[..], rest].concat();
    let route = |len: u8, nodes: &[u32]| {
        let nodes = nodes.iter().flat_map(|node| node.to_be_bytes());
        let mut rest = vec![0; 9];
        rest.push(len);
        rest.extend(nodes);
        with(REROUTE, &rest)
    };
    for (bytes, error) in [
        (vec![], WireError::Truncated),
        (vec![99], WireError::Kind),
        (vec![GO_AWAY + 1, 0, 0, 0, 0], WireError::Kind),
        (vec![HELLO, 0, 2, 0, 1], WireError::Value),
        (vec![HELLO, 0, 1, 0, 1], WireError::Truncated),
        (with(UNSUBSCRIBE, &[0]), WireError::Trailing),
        (with(WITHDRAW, &[2]), WireError::Value),
        (with(REFUSED, &[9]), WireError::Value),
        (with(SUBSCRIBE, &[0; 5 + RESUME_MAX]), WireError::TooLong),
        (with(UP, &vec![0; PAYLOAD_MAX + 1]), WireError::TooLong),
        (with(UP, &vec![0; CONTROL_MAX]), WireError::TooLong),
        (with(CHAT_DOWN, &[2, 0, 0, 0, 0]), WireError::Value),
        (with(CHAT_DOWN, &[0, 0, 0, 0, 7]), WireError::Value),
        (vec![WANT, 1, b'a', HOPS_MAX as u8], WireError::Value),
        (vec![WANT, 9, b'a'], WireError::Truncated),
        (vec![UNKNOWN, 0], WireError::Text),
        (vec![UNKNOWN, 2, 0xff, 0xfe], WireError::Text),
        (vec![UNKNOWN, 3, b'a', b'/', b'b'], WireError::Text),
        (route(0, &[]), WireError::Value),
        (route(5, &[1, 2, 3, 4, 5]), WireError::Value),
        (route(2, &[1, 1]), WireError::Value),
        (route(2, &[1]), WireError::Truncated),
    ] {
        assert_eq!(
            Message::decode(bytes.clone().into()),
            Err(error),
            "{bytes:?}"
        );
    }
}

#[test]
fn a_hello_of_a_later_version_is_read_as_far_as_it_is_known() {
    let hello = Hello {
        versions: Versions { min: 1, max: 3 },
        id: NodeId(5),
        node: "lightstick://hub-1?role=hub&region=kr"
            .parse()
            .expect("a node"),
    };
    let mut bytes = Message::Hello(hello.clone()).encode().to_vec();
    bytes.extend_from_slice(b"what version 3 says");
    let read = Message::decode(bytes.into());
    assert_eq!(read, Ok(Message::Hello(hello)));
    // Of one that has no version in common, nothing else is read.
    let bytes = [&[HELLO, 0, 2, 0, 3][..], b"\xff\xff"].concat();
    let versions = Versions { min: 2, max: 3 };
    let read = Message::decode(bytes.into());
    assert_eq!(read, Ok(Message::ForeignHello(versions)));
}
