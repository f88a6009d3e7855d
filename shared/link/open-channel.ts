import { type Destination, describeDestination } from '../destination.ts';
import { BridgeError, ERRNO } from '../errors.ts';
import type { MuxSession } from '../mux/session.ts';
import { ChannelEnd } from '../relay/channel-end.ts';
import type { End } from '../relay/end.ts';
import { encodeDetails, type StreamDetails } from '../stream-details.ts';
import { dialError } from './dial-error.ts';

/** How long the other side may take to answer, milliseconds: more than the time that it gives its own dial. */
export const ANSWER_MS = 20_000;

export interface ChannelRequest extends StreamDetails {
  readonly destination: Destination;
  /** Where that is, for errors: `in the VM`, `on the host`. */
  readonly where: string;
  readonly signal: AbortSignal;
}

/**
 * Opens a channel of a session that this thread carries, and answers once the peer has said whether it reached the
 * destination.
 * @throws BridgeError DIAL_REFUSED, DIAL_TIMEOUT, DIAL_FAILED, LIMIT_REACHED, LINK_LOST, CANCELLED
 */
export function openChannel(session: MuxSession, request: ChannelRequest): Promise<End> {
  const { destination, signal, where } = request;
  return new Promise((resolve, reject) => {
    const cancelled = () =>
      new BridgeError('CANCELLED', `dialling ${describeDestination(destination)} was cancelled`);
    if (signal.aborted) return reject(cancelled());
    const end = new ChannelEnd();
    const fail = (error: BridgeError): void => {
      settle();
      reject(error);
    };
    const cancel = (): void => {
      channel.reset(ERRNO.ECANCELED);
      fail(cancelled());
    };
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
    };
    const timer = setTimeout(() => {
      channel.reset(ERRNO.ETIMEDOUT);
      fail(dialError(destination, ERRNO.ETIMEDOUT, where));
    }, ANSWER_MS);
    signal.addEventListener('abort', cancel, { once: true });
    let channel: ReturnType<typeof session.open>;
    try {
      const handler = {
        ...end.events(),
        dialResult: (errno: number) => {
          settle();
          if (errno === 0) resolve(end);
          else reject(dialError(destination, errno, where));
        },
        reset: (errno: number) => {
          fail(dialError(destination, errno, where)); // nothing happens when the dial is over already
          end.aborted(errno);
        },
      };
      channel = session.open(destination, handler, encodeDetails(request));
    } catch (error) {
      return fail(error as BridgeError);
    }
    end.bind(channel);
    if (!session.dialResults) {
      settle();
      resolve(end); // a vpnkit peer never says; a failed dial is a Close later
    }
  });
}
