/**
 * From the host to a destination behind the VM: opens a connection over the lane of the VM's link and answers
 * once the shim has said whether it reached the destination. Waiting for that costs a round trip, and buys
 * that a client is never told anything before its container is there.
 */
import type { Socket } from 'node:net';
import type { Destination } from '../../shared/destination.ts';
import { BridgeError } from '../../shared/errors.ts';
import { dedicatedEnd } from '../../shared/link/dedicated-end.ts';
import { dialError } from '../../shared/link/dial-error.ts';
import type { Link } from '../../shared/link/link.ts';
import { ANSWER_MS, openChannel } from '../../shared/link/open-channel.ts';
import type { PeerStreams } from '../../shared/link/peer-streams.ts';
import { readHead } from '../../shared/link/read-head.ts';
import { decodeResult, encodePreface, RESULT_BYTES } from '../../shared/preface.ts';
import type { End } from '../../shared/relay/end.ts';
import type { StreamDetails } from '../../shared/stream-details.ts';
import type { Lane } from '../../shared/transport/choose.ts';

/** Where destinations are, for errors. */
export const WHERE = 'in the VM';

/** A link that is up, with what belongs to it. */
export interface ActiveLink {
  readonly link: Link;
  readonly streams: PeerStreams;
  readonly lane: Lane;
  /** Opens another stream to the shim. */
  dial(signal: AbortSignal): Promise<Socket>;
  /** A number for a dedicated stream that no living one has. */
  nextStreamId(): number;
}

/** Where data finds the link of a VM. */
export interface LinkSource {
  /** The link, waiting a few seconds for one that is down. @throws BridgeError NO_LINK or CANCELLED */
  whenUp(signal: AbortSignal): Promise<ActiveLink>;
}

export interface TunnelRequest extends StreamDetails {
  readonly destination: Destination;
  readonly signal: AbortSignal;
}

/**
 * Opens a connection to a destination.
 * @throws BridgeError DIAL_REFUSED, DIAL_TIMEOUT, DIAL_FAILED, LIMIT_REACHED, LINK_LOST, CANCELLED
 */
export function openTunnel(active: ActiveLink, request: TunnelRequest): Promise<End> {
  return active.lane === 'dedicated'
    ? openStream(active, request)
    : openChannel(active.link.session, { where: WHERE, ...request });
}

/**
 * Dials a destination, and lets it go at once.
 * @throws as openTunnel; UNSUPPORTED where the shim does not tell what became of a dial, as a vpnkit
 */
export async function probeTunnel(active: ActiveLink, request: TunnelRequest): Promise<void> {
  if (active.lane === 'multiplexed' && !active.link.has('dial-result'))
    throw new BridgeError(
      'UNSUPPORTED',
      'the shim is a vpnkit, which does not tell whether a container listens',
    );
  const end = await openTunnel(active, request);
  end.reset(new BridgeError('CANCELLED', 'it was only to be seen whether somebody listens'));
}

async function openStream(active: ActiveLink, request: TunnelRequest): Promise<End> {
  const { destination, signal } = request;
  const { link, streams } = active;
  const socket = await active.dial(signal);
  const streamId = active.nextStreamId();
  socket.write(encodePreface({ streamId, streamKey: link.streamKey, ...request }));
  let errno: number;
  try {
    errno = await readHead(socket, decodeResult, {
      what: 'answer to the stream preface',
      maxBytes: RESULT_BYTES,
      timeoutMs: ANSWER_MS,
      signal,
    });
  } catch (error) {
    // The shim may be about to say yes: it must not take our close for an end.
    const reason = error instanceof BridgeError ? error : new BridgeError('IO', 'internal error');
    dedicatedEnd({ socket, streamId, streams, answers: false }).reset(reason);
    throw error;
  }
  if (errno !== 0) {
    socket.destroy();
    throw dialError(destination, errno, WHERE);
  }
  return dedicatedEnd({ socket, streamId, streams, answers: false });
}
