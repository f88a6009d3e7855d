/** The session of a link as it is said between threads, when it lives in another one than the link does. */
import type { Socket } from 'node:net';
import type { BridgeError } from '../errors.ts';
import type { MuxExtensions, SessionOptions } from '../mux/session.ts';
import { LEGACY_WINDOW_SIZES, WINDOW_SIZES } from '../mux/window.ts';
import type { LinkedSocket, LinkedSocketHooks, LinkTarget, OpenedChannel } from './linked-socket.ts';

/** Most channels on one link. */
export const MAX_CHANNELS = 4_096;

export interface SessionSettings {
  /** The side that dialled the transport counts channel ids down. */
  readonly dialled: boolean;
  /** Towards a vpnkit: its own windows. */
  readonly legacy: boolean;
  readonly extensions: MuxExtensions;
}

export function sessionOptions({ dialled, legacy, extensions }: SessionSettings): SessionOptions {
  return {
    ids: dialled ? 'down' : 'up',
    extensions,
    windows: legacy ? LEGACY_WINDOW_SIZES : WINDOW_SIZES,
    maxChannels: MAX_CHANNELS,
  };
}

export interface CarriedSessionEvents {
  /** @param dealt to be called when the message has been dealt with: until then so much less is read from the peer */
  control(payload: Buffer, dealt: () => void): void;
  streamReset(streamId: number, errno: number): void;
  /** The peer has answered a ping, so many milliseconds later. */
  rtt(ms: number): void;
  /** The peer has opened a channel that the worker does not serve by itself. */
  opened(channel: OpenedChannel): void;
  /** Said once. @param lately what happened before the peer broke the protocol, if it did */
  over(reason: BridgeError, lately: readonly string[]): void;
}

/** A session that lives in a worker thread. */
export interface CarriedSession {
  /** Its number there. */
  readonly link: number;
  readonly worker: number;
  sendControl(payload: Buffer): void;
  sendStreamReset(streamId: number, errno: number): void;
  /** Asks the peer from now on whether it is there, and ends the session when it is dead. */
  startHeartbeat(intervalMs: number): void;
  /** Carries a client over a channel that is opened for it; as connectHere does. */
  connect(socket: Socket, target: LinkTarget, hooks: LinkedSocketHooks): LinkedSocket;
  /** Ends it; `over` is said at once. */
  close(reason: BridgeError): void;
}

/** Who takes sessions of the multiplexed lane off this thread. */
export interface SessionCarrier {
  /**
   * Takes over a paused stream that stands at the beginning of a frame.
   * @throws BridgeError LINK_LOST or IO; the stream is then destroyed, or the caller's to destroy
   */
  carry(stream: Socket, settings: SessionSettings, events: CarriedSessionEvents): Promise<CarriedSession>;
}
