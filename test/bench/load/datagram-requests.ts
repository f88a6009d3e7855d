import { median } from '../../helpers/median.ts';
import type { Network } from './network.ts';
import { runUntil } from './run-until.ts';
import { ECHO, INDEX_AT, KIND_AT, NUMBER_AT } from './words.ts';

const BYTES = 64;
/** A request without an answer is lost then, milliseconds, and another takes its place. */
const LOST_MS = 250;

export interface DatagramRequestOptions {
  readonly port: number;
  readonly outstanding: number;
  readonly seconds: number;
}

/** Echoes to one client, so many at once. @returns answers a second, the median of latency in us, and the share lost */
export async function askDatagrams(
  network: Network,
  options: DatagramRequestOptions,
): Promise<{ rate: number; p50: number; lost: number }> {
  const { outstanding } = options;
  const numbers = new Uint32Array(outstanding);
  const since = new Float64Array(outstanding);
  const latencies: number[] = [];
  const request = Buffer.alloc(BYTES);
  let lost = 0;

  /** Makes `bytes` the next request in a place. */
  const ask = (bytes: Buffer, index: number) => {
    bytes.writeUInt32LE(index, INDEX_AT);
    bytes.writeUInt32LE(++numbers[index]!, NUMBER_AT);
    since[index] = performance.now();
  };
  const socket = await network.connectDatagrams(options.port, (answer, length) => {
    const index = answer.readUInt32LE(INDEX_AT);
    if (length !== BYTES || index >= outstanding || answer.readUInt32LE(NUMBER_AT) !== numbers[index])
      return false; // late: it has been given up
    latencies.push(performance.now() - since[index]!);
    ask(answer, index);
    return true;
  });
  request[KIND_AT] = ECHO;
  const send = (index: number) => {
    ask(request, index);
    socket.send(request, 1);
  };
  const began = performance.now();
  try {
    await runUntil(network, options.seconds, (stop) => {
      const look = () => {
        for (let index = 0; index < outstanding; index++) {
          if (performance.now() - since[index]! < LOST_MS) continue;
          lost++;
          send(index);
        }
        network.after(LOST_MS / 5, look);
      };
      for (let index = 0; index < outstanding; index++) send(index);
      look();
      network.after(options.seconds * 1000, () => stop());
    });
  } finally {
    socket.close();
  }
  if (latencies.length === 0) throw new Error('no datagram came back');
  const rate = latencies.length / ((performance.now() - began) / 1000);
  return { rate, p50: median(latencies) * 1000, lost: lost / (lost + latencies.length) };
}
