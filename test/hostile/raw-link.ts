/** A VM shim's end of a link, byte by byte: what it sends is whatever an attack wants. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { pack, unpack } from 'msgpackr';
import { COMMAND } from '../../shared/mux/frame.ts';
import { until } from '../helpers/processes.ts';
import { LinkCutter, type Piece } from '../helpers/wire-pieces.ts';

const TEXT = 'https://github.com/moby/vpnkit multiplexer protocol\n';
export const FEATURES = ['control', 'dial-result', 'reset', 'dedicated', 'udp-flows', 'claims'];
const SET_UP_MS = 15_000;
const NOTHING = Buffer.alloc(0);

/** The answer to a dedicated or spare stream whose destination was dialled (docs/protocol.md). */
export const GRANTED = Buffer.from([0x50, 0xfe, 1, 0, 0, 0, 0, 0]);

/** u32, little-endian. */
export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** u64, little-endian. */
export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

/** The header of a frame, and its payload behind it. */
export function frame(
  command: number,
  id: number,
  body: Buffer = NOTHING,
  payload: Buffer = NOTHING,
): Buffer {
  const head = Buffer.alloc(7);
  head.writeUInt16LE(7 + body.length, 0);
  head[2] = command;
  head.writeUInt32LE(id, 3);
  return Buffer.concat([head, body, payload]);
}

export function dataFrame(id: number, payload: Buffer): Buffer {
  return frame(COMMAND.data, id, u32(payload.length), payload);
}

export function controlFrame(payload: Buffer): Buffer {
  return frame(COMMAND.control, 0, u32(payload.length), payload);
}

/** The handshake of somebody whose hello is `payload`. */
export function handshake(payload: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16LE(payload.length);
  return Buffer.concat([Buffer.from(TEXT, 'latin1'), length, payload]);
}

export interface HelloOptions {
  readonly instance?: string;
  readonly epoch?: number;
  readonly features?: readonly string[];
  /** Asks for proof that the other side has the token. */
  readonly nonce?: Buffer;
}

export function hello(options: HelloOptions = {}): Buffer {
  const instance = options.instance ?? randomBytes(16).toString('hex');
  const map = {
    version: 1,
    implementation: 'hostile 1',
    role: 'shim',
    instance,
    epoch: 0,
    features: FEATURES,
  };
  return pack({ ...map, ...options, instance });
}

/** The key in the control frame that `start` is. */
function streamKeyIn(bytes: Buffer): Buffer {
  const head = bytes.readUInt16LE(0);
  return Buffer.from((unpack(bytes.subarray(head)) as { streamKey: Uint8Array }).streamKey);
}

/** Connects to a unix socket; errors later on are nobody's. */
export function dialUnix(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path, allowHalfOpen: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject).on('error', () => {});
      resolve(socket);
    });
  });
}

export class RawLink {
  readonly socket: Socket;
  /** What came, without its payload, for as long as it is kept. */
  readonly seen: Piece[] = [];
  /** The other side has closed or reset it. */
  ended = false;
  onPiece: (piece: Piece) => void = () => {};
  /** What dedicated and spare streams of this link have to carry. */
  streamKey: Buffer = NOTHING;

  private constructor(socket: Socket) {
    this.socket = socket;
    const cutter = new LinkCutter(false);
    socket.on('data', (chunk: Buffer) => {
      for (const piece of cutter.push(chunk)) {
        if (this.seen.length < 10_000)
          this.seen.push({ kind: piece.kind, bytes: Buffer.from(piece.bytes.subarray(0, 64)) });
        if (piece.kind === 'start') this.streamKey = streamKeyIn(piece.bytes);
        this.onPiece(piece);
      }
    });
    const over = () => {
      this.ended = true;
      socket.destroy();
    };
    socket.on('end', over).on('close', over);
  }

  /** A link that is up, on which nothing is claimed. */
  static async up(path: string, options?: HelloOptions): Promise<RawLink> {
    const link = new RawLink(await dialUnix(path));
    link.send(handshake(hello(options)));
    await link.sees('start');
    link.control({ type: 'started' });
    link.control({ type: 'claims', claims: [], more: false });
    // An answer says that the host agent has turned to what is said now; until then it takes no more than 256 messages.
    link.control({ type: 'unclaim', id: 0, now: false });
    await link.sees('unclaimed');
    return link;
  }

  /** @returns false when it waits for the host agent to read */
  send(bytes: Buffer): boolean {
    return !this.socket.destroyed && this.socket.write(bytes);
  }

  /** Sends and waits until the host agent has taken it, or has ended the link. */
  async flush(bytes: Buffer): Promise<void> {
    if (this.send(bytes)) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.socket.off('drain', done).off('close', done);
        resolve();
      };
      this.socket.on('drain', done).on('close', done);
      if (this.socket.destroyed) done();
    });
  }

  control(message: object): boolean {
    return this.send(controlFrame(pack(message)));
  }

  /** The first of a kind that has come or comes. */
  sees(kind: string): Promise<Piece> {
    return until(
      `"${kind}" from the host agent`,
      () => {
        const found = this.seen.find((piece) => piece.kind === kind);
        if (found === undefined && this.ended)
          throw new Error(`the host agent ended the link before "${kind}"`);
        return found;
      },
      SET_UP_MS,
    );
  }

  /** The number of the channel that the host agent opened, of those that were not asked for before. */
  async opened(): Promise<number> {
    const piece = await this.sees('open');
    this.seen.splice(this.seen.indexOf(piece), 1);
    return piece.bytes.readUInt32LE(3);
  }

  /** Waits until the host agent ends the link. */
  async isEnded(): Promise<void> {
    await until('the host agent to end the link', () => this.ended, SET_UP_MS);
  }

  close(): void {
    this.socket.destroy();
  }
}
