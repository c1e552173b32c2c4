/** The chat's data channels on a session. */

/** Three channels, as the chat uses them. */
export interface ChatChannels {
  /** What must arrive, in order; requests go this way. */
  readonly ctl: RTCDataChannel;
  /** Messages, in any order. */
  readonly chat: RTCDataChannel;
  /** Counts, of which a lost one is not worth a second try. */
  readonly fx: RTCDataChannel;
}

/** Adds them to a connection, before its offer. */
export function openChannels(pc: RTCPeerConnection): ChatChannels {
  return {
    ctl: pc.createDataChannel("ctl"),
    chat: pc.createDataChannel("chat", { ordered: false }),
    fx: pc.createDataChannel("fx", { ordered: false, maxRetransmits: 0 }),
  };
}
