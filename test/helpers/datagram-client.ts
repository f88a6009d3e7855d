import { setTimeout as delay } from 'node:timers/promises';
import { KeyStream } from './key-stream.ts';
import { type UdpPeer, udpPeer } from './udp-peer.ts';

const ANSWER_MS = 300;

/** One UDP client of echo servers: datagrams may be lost, but what comes back has to be what was sent, and once only. */
export class DatagramClient {
  /** What came back and should not have. */
  readonly faults: string[] = [];
  sent = 0;
  answered = 0;
  /** Never used again, unlike the count of those that were sent, which its reader may set back. */
  private last = 0;
  private readonly waiting = new Map<number, { readonly bytes: number; readonly done: () => void }>();
  private peer!: UdpPeer;

  static async start(): Promise<DatagramClient> {
    const client = new DatagramClient();
    client.peer = await udpPeer(0, (payload) => client.take(payload));
    return client;
  }

  /** Sends one. @param bytes 8 at least. @returns resolves with whether it came back soon */
  ask(port: number, bytes = 200): Promise<boolean> {
    this.sent++;
    const number = ++this.last;
    const payload = Buffer.concat([Buffer.alloc(4), new KeyStream(number).next(bytes - 4)]);
    payload.writeUInt32LE(number, 0);
    const answered = new Promise<boolean>((resolve) => {
      this.waiting.set(number, { bytes, done: () => resolve(true) });
      // Kept long enough to tell a late answer from one that comes twice.
      setTimeout(() => this.waiting.delete(number), 60_000).unref();
    });
    this.peer.send(payload, port);
    return Promise.race([answered, delay(ANSWER_MS, false)]);
  }

  close(): Promise<void> {
    return this.peer.close();
  }

  private take(payload: Buffer): void {
    const number = payload.length < 8 ? 0 : payload.readUInt32LE(0);
    const asked = this.waiting.get(number);
    if (asked === undefined) {
      this.faults.push(`datagram ${number} came twice or was never sent`);
      return;
    }
    this.waiting.delete(number);
    if (payload.length !== asked.bytes || !new KeyStream(number).matches(payload.subarray(4)))
      this.faults.push(`datagram ${number} came back changed`);
    this.answered++;
    asked.done();
  }
}
