//! How the values of the cores look in the API's description. The cores do not know of it.
//!
//! A field of a body refers to these with `#[schema(value_type = schema::Layer)]`. Each is held to the
//! type that it describes: by the compiler, which wants every variant, and by a test of their names.

macro_rules! described {
    ($($(#[$attribute:meta])* $name:ident describes $core:ty { $($variant:ident),* $(,)? })*) => {
        $(
            #[derive(serde::Serialize, utoipa::ToSchema)]
            $(#[$attribute])*
            pub(crate) enum $name { $($variant,)* }

            impl From<$core> for $name {
                fn from(value: $core) -> Self {
                    match value { $(<$core>::$variant => Self::$variant,)* }
                }
            }
        )*

        #[cfg(test)]
        mod tests {
            use serde_json::to_value;

            #[test]
            fn values_are_written_as_they_are_described() {
                $($(
                    let value = <$core>::$variant;
                    let described = to_value(super::$name::from(value)).unwrap();
                    assert_eq!(to_value(value).unwrap(), described);
                )*)*
            }
        }
    };
}

described! {
    /// What a session does in its room.
    #[schema(as = SessionRole)]
    #[serde(rename_all = "lowercase")]
    Role describes lightstick_types::Role { Publisher, Viewer }

    /// What a track carries.
    #[serde(rename_all = "lowercase")]
    TrackKind describes lightstick_types::TrackKind { Audio, Video }

    /// A codec that Lightstick forwards.
    #[serde(rename_all = "lowercase")]
    Codec describes lightstick_types::Codec { H264, Vp8, Vp9, Av1, Opus, Red }

    /// A spatial layer that a viewer can be given: one encoding of a simulcast, best first in order.
    ///
    /// A track without simulcast has only [`Layer::High`].
    #[serde(rename_all = "lowercase")]
    Layer describes lightstick_types::Layer { Low, Medium, High }

    /// What a viewer asks for.
    #[serde(rename_all = "lowercase")]
    LayerChoice describes lightstick_types::LayerChoice { Auto, Low, Medium, High }

    /// What a hint is about. Codes are never renamed.
    #[serde(rename_all = "snake_case")]
    HintCode describes lightstick_types::HintCode {
        BFrames,
        LongKeyframeInterval,
        NoKeyframes,
        KeyframeRequestsIgnored,
        NoParameterSets,
        NoVideoPackets,
        NoAudioPackets,
        UnplacedPackets,
        ChangingSsrc,
        MonoAudio,
    }

    /// Whether media flows in a room, and if not, why.
    #[serde(rename_all = "snake_case")]
    Activity describes lightstick_signaling_core::rooms::Activity {
        Live,
        NotStarted,
        Interrupted,
        Ended,
    }

    /// Why a show is over.
    #[serde(rename_all = "snake_case")]
    EndReason describes lightstick_signaling_core::rooms::EndReason {
        PublisherLeft,
        GraceExpired,
        Kicked,
        Closed,
        Drained,
    }

    /// Why a session is gone.
    #[serde(rename_all = "snake_case")]
    LeaveReason describes lightstick_signaling_core::rooms::LeaveReason {
        Deleted,
        Kicked,
        RoomClosed,
        RoomExpired,
        Replaced,
        Abandoned,
        Drained,
        PeerClosed,
        ConnectTimeout,
        NoMedia,
        ConsentExpired,
        BitrateExceeded,
        TransportError,
        Internal,
    }
}
