//! What the ends of a link tell each other on the control stream.

use bytes::Bytes;
use lightstick_types::{NodeId, RoomName};

use crate::fields::{Reader, WireError, put_text};
use crate::hello::{Hello, Versions};
use crate::limits::{CONTROL_MAX, HOPS_MAX, PAYLOAD_MAX, RESUME_MAX};
use crate::route::Route;

/// A room as one end of a link announces it. Given in rising order, and never again on that link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias(pub u32);

/// A subscription, numbered by the end that subscribes: in rising order, and never again on that link.
/// Whatever belongs to it carries this number, so that nothing of an earlier one is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(pub u32);

/// Why a room is announced no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// The node has no way to it any more, or none that leads elsewhere than back.
    Unreachable,
    /// It has ended at its origin.
    Ended,
}

/// Why a subscription is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The node cannot serve the room now.
    NoSource,
    /// The node is about to leave.
    Draining,
}

/// A message of the control stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Hello(Hello),
    /// A hello without a common version: what its sender speaks.
    ForeignHello(Versions),
    Announce {
        alias: Alias,
        room: RoomName,
        route: Route,
    },
    /// Another way to an announced room.
    Reroute {
        alias: Alias,
        route: Route,
    },
    /// Subscriptions of the room end with it.
    Withdraw {
        alias: Alias,
        reason: Withdrawal,
    },
    /// Somebody below waits for a room that was not announced.
    Want {
        room: RoomName,
        hops_left: u8,
    },
    /// Nobody waits any more.
    Unwant {
        room: RoomName,
    },
    /// Neither this node nor one above it knows of the room. It is announced when it begins.
    Unknown {
        room: RoomName,
    },
    Subscribe {
        alias: Alias,
        subscription: SubscriptionId,
        resume: Bytes,
    },
    Unsubscribe {
        subscription: SubscriptionId,
    },
    Refused {
        subscription: SubscriptionId,
        reason: Refusal,
    },
    /// What a hop tells the one that it gets the room from.
    Up {
        subscription: SubscriptionId,
        payload: Bytes,
    },
    /// What a hop tells one below and must arrive.
    Down {
        subscription: SubscriptionId,
        payload: Bytes,
    },
    /// The show's state; the highest of (epoch, version) counts.
    Show {
        subscription: SubscriptionId,
        epoch: u64,
        version: u64,
        state: Bytes,
    },
    /// Chat on its way to the room's origin.
    ChatUp {
        subscription: SubscriptionId,
        from: NodeId,
        payload: Bytes,
    },
    /// Chat of the room's origin, for one node or for all.
    ChatDown {
        subscription: SubscriptionId,
        to: Option<NodeId>,
        payload: Bytes,
    },
    /// The sender leaves after this time: use other nodes.
    GoAway {
        after_ms: u32,
    },
}

const HELLO: u8 = 0;
const ANNOUNCE: u8 = 1;
const REROUTE: u8 = 2;
const WITHDRAW: u8 = 3;
const WANT: u8 = 4;
const UNWANT: u8 = 5;
const UNKNOWN: u8 = 6;
const SUBSCRIBE: u8 = 7;
const UNSUBSCRIBE: u8 = 8;
const REFUSED: u8 = 9;
const UP: u8 = 10;
const DOWN: u8 = 11;
const SHOW: u8 = 12;
const CHAT_UP: u8 = 13;
const CHAT_DOWN: u8 = 14;
const GO_AWAY: u8 = 15;

impl Message {
    /// The message's bytes. What is encoded is in its bounds already.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(32);
        match self {
            Self::Hello(hello) => {
                out.push(HELLO);
                hello.write(&mut out);
            }
            Self::ForeignHello(versions) => {
                out.push(HELLO);
                out.extend_from_slice(&versions.min.to_be_bytes());
                out.extend_from_slice(&versions.max.to_be_bytes());
            }
            Self::Announce { alias, room, route } => {
                head(&mut out, ANNOUNCE, alias.0);
                put_text(room.as_str(), &mut out);
                route.write(&mut out);
            }
            Self::Reroute { alias, route } => {
                head(&mut out, REROUTE, alias.0);
                route.write(&mut out);
            }
            Self::Withdraw { alias, reason } => {
                head(&mut out, WITHDRAW, alias.0);
                out.push(*reason as u8);
            }
            Self::Want { room, hops_left } => {
                out.push(WANT);
                put_text(room.as_str(), &mut out);
                out.push(*hops_left);
            }
            Self::Unwant { room } => {
                out.push(UNWANT);
                put_text(room.as_str(), &mut out);
            }
            Self::Unknown { room } => {
                out.push(UNKNOWN);
                put_text(room.as_str(), &mut out);
            }
            Self::Subscribe {
                alias,
                subscription,
                resume,
            } => {
                head(&mut out, SUBSCRIBE, alias.0);
                out.extend_from_slice(&subscription.0.to_be_bytes());
                out.extend_from_slice(resume);
            }
            Self::Unsubscribe { subscription } => head(&mut out, UNSUBSCRIBE, subscription.0),
            Self::Refused {
                subscription,
                reason,
            } => {
                head(&mut out, REFUSED, subscription.0);
                out.push(*reason as u8);
            }
            Self::GoAway { after_ms } => head(&mut out, GO_AWAY, *after_ms),
            values => values.write_value(&mut out),
        }
        out.into()
    }

    /// Of the messages that end with a payload.
    fn write_value(&self, out: &mut Vec<u8>) {
        let payload = match self {
            Self::Up {
                subscription,
                payload,
            } => {
                head(out, UP, subscription.0);
                payload
            }
            Self::Down {
                subscription,
                payload,
            } => {
                head(out, DOWN, subscription.0);
                payload
            }
            Self::Show {
                subscription,
                epoch,
                version,
                state,
            } => {
                head(out, SHOW, subscription.0);
                out.extend_from_slice(&epoch.to_be_bytes());
                out.extend_from_slice(&version.to_be_bytes());
                state
            }
            Self::ChatUp {
                subscription,
                from,
                payload,
            } => {
                head(out, CHAT_UP, subscription.0);
                out.extend_from_slice(&from.0.to_be_bytes());
                payload
            }
            Self::ChatDown {
                subscription,
                to,
                payload,
            } => {
                head(out, CHAT_DOWN, subscription.0);
                out.push(u8::from(to.is_some()));
                out.extend_from_slice(&to.unwrap_or_default().0.to_be_bytes());
                payload
            }
            _ => return,
        };
        out.extend_from_slice(payload);
    }

    /// Reads a message. Payloads are parts of it.
    ///
    /// # Errors
    /// [`WireError`]: it is none.
    pub fn decode(message: Bytes) -> Result<Self, WireError> {
        if message.len() > CONTROL_MAX {
            return Err(WireError::TooLong);
        }
        let mut reader = Reader::new(message);
        let kind = reader.u8()?;
        let message = match kind {
            HELLO => match Hello::read(&mut reader)? {
                Ok(hello) => Self::Hello(hello),
                Err(versions) => Self::ForeignHello(versions),
            },
            ANNOUNCE => Self::Announce {
                alias: Alias(reader.u32()?),
                room: reader.text()?,
                route: Route::read(&mut reader)?,
            },
            REROUTE => Self::Reroute {
                alias: Alias(reader.u32()?),
                route: Route::read(&mut reader)?,
            },
            WITHDRAW => Self::Withdraw {
                alias: Alias(reader.u32()?),
                reason: one_of(&[Withdrawal::Unreachable, Withdrawal::Ended], reader.u8()?)?,
            },
            WANT => Self::Want {
                room: reader.text()?,
                hops_left: match reader.u8()? {
                    hops if usize::from(hops) < HOPS_MAX => hops,
                    _ => return Err(WireError::Value),
                },
            },
            UNWANT => Self::Unwant {
                room: reader.text()?,
            },
            UNKNOWN => Self::Unknown {
                room: reader.text()?,
            },
            SUBSCRIBE => Self::Subscribe {
                alias: Alias(reader.u32()?),
                subscription: SubscriptionId(reader.u32()?),
                resume: reader.rest(RESUME_MAX)?,
            },
            UNSUBSCRIBE => Self::Unsubscribe {
                subscription: SubscriptionId(reader.u32()?),
            },
            REFUSED => Self::Refused {
                subscription: SubscriptionId(reader.u32()?),
                reason: one_of(&[Refusal::NoSource, Refusal::Draining], reader.u8()?)?,
            },
            GO_AWAY => Self::GoAway {
                after_ms: reader.u32()?,
            },
            UP..=CHAT_DOWN => Self::read_value(kind, &mut reader)?,
            _ => return Err(WireError::Kind),
        };
        reader.end()?;
        Ok(message)
    }

    fn read_value(kind: u8, reader: &mut Reader) -> Result<Self, WireError> {
        let subscription = SubscriptionId(reader.u32()?);
        Ok(match kind {
            UP => Self::Up {
                subscription,
                payload: reader.rest(PAYLOAD_MAX)?,
            },
            DOWN => Self::Down {
                subscription,
                payload: reader.rest(PAYLOAD_MAX)?,
            },
            SHOW => Self::Show {
                subscription,
                epoch: reader.u64()?,
                version: reader.u64()?,
                state: reader.rest(PAYLOAD_MAX)?,
            },
            CHAT_UP => Self::ChatUp {
                subscription,
                from: NodeId(reader.u32()?),
                payload: reader.rest(PAYLOAD_MAX)?,
            },
            _ => {
                let is_for_one = match reader.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(WireError::Value),
                };
                let node = NodeId(reader.u32()?);
                if !is_for_one && node != NodeId(0) {
                    return Err(WireError::Value);
                }
                Self::ChatDown {
                    subscription,
                    to: is_for_one.then_some(node),
                    payload: reader.rest(PAYLOAD_MAX)?,
                }
            }
        })
    }
}

fn head(out: &mut Vec<u8>, kind: u8, number: u32) {
    out.push(kind);
    out.extend_from_slice(&number.to_be_bytes());
}

/// The value whose discriminant this is; they stand in this order.
fn one_of<T: Copy>(values: &[T], index: u8) -> Result<T, WireError> {
    let value = values.get(usize::from(index)).copied();
    value.ok_or(WireError::Value)
}

#[cfg(test)]
mod tests;
