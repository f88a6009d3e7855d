import { hostPort, loopback, unixSpec, until } from '../../helpers/processes.ts';
import { roundTrip } from '../../helpers/stream-client.ts';
import { same, WAIT_MS } from '../cases.ts';
import type { Containers, Seen } from '../guest/containers.ts';
import { seenAt } from '../seen.ts';
import { hold, SEEN_SOCKET, startContainers } from './guest-programs.ts';
import type { SerialPair } from './serial-pair.ts';

/**
 * Seconds. A peer is dead after three times as long, which has to be more than a guest stands still while it is saved on a busy
 * machine; and not more than the serial port bears of itself (SERIAL_TIMES of shared/transport/serial-stream.ts).
 */
export const HEARTBEAT = 3;

/** What there is when the cases begin, and again after each. */
export interface Scene {
  readonly pair: SerialPair;
  readonly containers: Containers;
  /** A port made through the API, of the container `echo`. */
  readonly port: number;
  /** Another one, of the container `watching`. */
  readonly watching: number;
  /** What a process in the guest holds: the same container at another port. */
  readonly claimed: string;
  readonly holder: string;
  seen(): Promise<Seen>;
  /** Waits until nothing is open or published but what there was at first. */
  settled(): Promise<void>;
  /** Waits until both ports carry a message there and back. */
  untilServed(): Promise<void>;
}

export async function makeScene(pair: SerialPair): Promise<Scene> {
  const beat = ['--heartbeat', `${HEARTBEAT}`];
  await pair.startShim(...beat);
  // A busy machine may take long to restore a guest.
  pair.startHost(...beat, '--grace', '300');
  await pair.linked();
  const containers = await startContainers(pair);
  await pair.mount();
  const { claimed, holder } = await hold(pair, 'held', loopback('tcp', containers.echo));
  const seenSocket = `${pair.folder}/seen.sock`;
  await pair.expose(unixSpec(seenSocket, SEEN_SOCKET));
  const [port, watching] = [await pair.tcp(containers.echo), await pair.tcp(containers.watching)];
  const served = async (): Promise<void> => {
    for (const each of [port, hostPort(claimed)]) same(await roundTrip(each, 'served'), 'served', 'the echo');
  };
  const untilServed = async (): Promise<void> => {
    const works = () =>
      served().then(
        () => true,
        () => false,
      );
    await until('the ports to be served', works, WAIT_MS);
  };
  await served();
  await seenAt(seenSocket);
  const look = async () =>
    JSON.stringify({ ...(await pair.open()), published: (await pair.published()).sort() });
  const first = await untilStill(look);
  const settled = async (): Promise<void> => {
    let now = '';
    const asAtFirst = async () => {
      now = await look();
      return now === first;
    };
    await until('what was opened to be closed', asAtFirst, WAIT_MS).catch((error: Error) => {
      throw new Error(`${error.message}\n${now} is there instead of\n${first}`);
    });
    const entries = (await pair.shell.must('ls /port')).split('\n');
    if (entries.join() !== 'README,held') throw new Error(`/port has ${entries.join()}`);
  };
  const seen = () => seenAt(seenSocket);
  return { pair, containers, port, watching, claimed, holder, settled, untilServed, seen };
}

/** Waits until what was open at first has been closed: until several looks are alike. */
async function untilStill(look: () => Promise<string>): Promise<string> {
  let last = '';
  let alike = 0;
  await until('connections to be closed', async () => {
    const now = await look();
    alike = now === last ? alike + 1 : 0;
    last = now;
    return alike === 5;
  });
  return last;
}
