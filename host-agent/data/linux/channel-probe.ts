import { decodeDestination } from '../../../shared/destination.ts';
import { BridgeError, ERRNO } from '../../../shared/errors.ts';
import { ChannelDial } from '../../../shared/platform/linux/mux/channel-dial.ts';
import type { WorkerLink } from '../../../shared/platform/linux/mux/worker-links.ts';
import type { Reactor } from '../../../shared/platform/linux/reactor.ts';

/**
 * Dials a container over a link that lives in this worker, and lets it go at once.
 * @param destination as encodeDestination has it
 * @param done told once what became of it: 0 when the container was reached
 */
export function probeChannel(
  reactor: Reactor,
  link: WorkerLink,
  destination: Uint8Array,
  done: (errno: number) => void,
): void {
  const dial = new ChannelDial(reactor, link, (errno, end) => {
    if (errno === 0) end.reset(ENOUGH);
    done(errno);
  });
  try {
    dial.open(decodeDestination(Buffer.from(destination), 0).destination, NO_DETAILS);
  } catch (error) {
    done(error instanceof BridgeError ? error.errno : ERRNO.EIO);
  }
}

const NO_DETAILS = new Uint8Array(0);
const ENOUGH = new BridgeError('CANCELLED', 'it was only to be seen whether somebody listens');
