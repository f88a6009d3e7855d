import type { Datagrams, Network } from './network.ts';
import { runUntil } from './run-until.ts';
import { ASKS_COUNT, COUNTED, KIND_AT, LEAST_DATAGRAM, NUMBER_AT, RUN_AT } from './words.ts';

const BURST = 64;
/** How long an answer of the backend is waited for, milliseconds. */
const ASK_AGAIN_MS = 50;
/** Answers that have to agree before nothing is believed to be on its way any more. */
const AGREEING = 3;

let runs = 0;

export interface FloodOptions {
  readonly port: number;
  readonly bytes: number;
  /** Datagrams a second; undefined for as fast as they are taken. */
  readonly rate: number | undefined;
  readonly seconds: number;
}

/** One client that only sends. @returns what the kernel took from it and what the backend has counted, and the seconds */
export async function floodDatagrams(
  network: Network,
  options: FloodOptions,
): Promise<{ sent: number; delivered: number; seconds: number }> {
  const { seconds, rate, bytes } = options;
  const payload = Buffer.alloc(bytes);
  const ask = Buffer.alloc(LEAST_DATAGRAM);
  const run = (process.pid * 1000 + ++runs) >>> 0;
  payload[KIND_AT] = COUNTED;
  ask[KIND_AT] = ASKS_COUNT;
  for (const each of [payload, ask]) each.writeUInt32LE(run, RUN_AT);

  let delivered = 0;
  let answers = 0;
  let agreeing = 0;
  const socket: Datagrams = await network.connectDatagrams(options.port, (answer, length) => {
    if (length !== ask.length || answer.readUInt32LE(RUN_AT) !== run) return false;
    const count = answer.readUInt32LE(NUMBER_AT);
    agreeing = count === delivered ? agreeing + 1 : 1;
    delivered = count;
    answers++;
    return false;
  });
  let sent = 0;
  let took = 0;
  try {
    await runUntil(network, seconds, (stop) => {
      const began = performance.now();
      const askCount = () => {
        if (agreeing >= AGREEING) return stop();
        socket.send(ask, 1);
        network.after(ASK_AGAIN_MS, askCount);
      };
      const flood = () => {
        const passed = (performance.now() - began) / 1000;
        if (passed >= seconds) {
          took = passed;
          return askCount();
        }
        const due = rate === undefined ? BURST : Math.floor(passed * rate) - sent;
        if (due > 0) sent += socket.send(payload, due);
        network.after(rate === undefined ? 0 : 1, flood);
      };
      flood();
    });
  } catch (error) {
    throw answers === 0 ? new Error('no datagram came back') : error;
  } finally {
    socket.close();
  }
  if (delivered > sent) throw new Error(`${delivered} datagrams arrived of ${sent}`);
  return { sent, delivered, seconds: took };
}
