/**
 * A minimal vpnkit on one end of a stream, written from the bytes of its protocol and from nothing of ours:
 * what it sends and reads is spelled out here. Little-endian; header u16 length, u8 command, u32 channel id.
 */
import type { Socket } from 'node:net';
import { until } from './processes.ts';

const TEXT = 'https://github.com/moby/vpnkit multiplexer protocol\n';
export const WINDOW_BYTES = 65_536;

export interface Frame {
  readonly command: number;
  readonly id: number;
  readonly body: Buffer;
  readonly payload: Buffer;
}

export const OPEN = 1;
export const CLOSE = 2;
export const SHUTDOWN = 3;
export const DATA = 4;
export const WINDOW = 5;

/** What an Open asks for: the bytes behind its `connection` byte. */
export function tcpDestination(port: number): Buffer {
  return Buffer.from([1, 4, 0, 127, 0, 0, 1, port & 0xff, port >> 8]);
}

export function udpDestination(port: number): Buffer {
  return Buffer.from([2, 4, 0, 127, 0, 0, 1, port & 0xff, port >> 8]);
}

export function unixDestination(path: string): Buffer {
  const bytes = Buffer.from(path);
  return Buffer.concat([Buffer.from([3, bytes.length & 0xff, bytes.length >> 8]), bytes]);
}

/** u16 total, u16 iplen 0, u16 port 0, u16 zonelen 0, u16 length, payload: how the Go side frames a flow's datagrams. */
export function datagram(payload: Buffer): Buffer {
  const total = 10 + payload.length;
  const head = Buffer.from([
    total & 0xff,
    total >> 8,
    0,
    0,
    0,
    0,
    0,
    0,
    payload.length & 0xff,
    payload.length >> 8,
  ]);
  return Buffer.concat([head, payload]);
}

export class VpnkitPeer {
  /** What stood behind the other side's 52 bytes; a vpnkit ignores it. */
  hello: Buffer | undefined;
  readonly frames: Frame[] = [];
  /** Called for each frame that arrives from now on. */
  onFrame: (frame: Frame) => void = () => {};
  ended = false;
  private readonly sent = new Map<number, number>();
  private readonly socket: Socket;
  private pending = Buffer.alloc(0);

  /** Sends the handshake at once, as vpnkit does, with no payload. */
  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      this.ended = true;
    });
    socket.on('data', (chunk: Buffer) => this.read(chunk));
    socket.write(Buffer.concat([Buffer.from(TEXT, 'latin1'), Buffer.from([0, 0])]));
  }

  open(id: number, destination: Buffer): void {
    this.send(OPEN, id, Buffer.concat([Buffer.from([2]), destination]));
  }

  close(id: number): void {
    this.send(CLOSE, id);
  }

  shutdown(id: number): void {
    this.send(SHUTDOWN, id);
  }

  data(id: number, payload: Buffer): void {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(payload.length);
    this.send(DATA, id, length, payload);
  }

  /** @param sequence absolute: how many bytes of the channel the other side may have sent in all */
  window(id: number, sequence: number): void {
    const body = Buffer.alloc(8);
    body.writeBigUInt64LE(BigInt(sequence));
    this.send(WINDOW, id, body);
  }

  /** The frames of one channel, or of one command of it. */
  of(id: number, command?: number): Frame[] {
    return this.frames.filter(
      (frame) => frame.id === id && (command === undefined || frame.command === command),
    );
  }

  /** Waits for a frame of a channel. */
  wait(id: number, command: number): Promise<Frame> {
    return until(`command ${command} on channel ${id}`, () => this.of(id, command)[0]);
  }

  received(id: number): Buffer {
    return Buffer.concat(this.of(id, DATA).map(({ payload }) => payload));
  }

  /** How many bytes of a channel the other side has let us send. */
  allowed(id: number): number {
    return Math.max(0, ...this.of(id, WINDOW).map(({ body }) => Number(body.readBigUInt64LE())));
  }

  /** Sends bytes as far as the other side's window goes, and waits for more of it. */
  async stream(id: number, bytes: Buffer): Promise<void> {
    let sent = this.sent.get(id) ?? 0;
    let rest = bytes;
    while (rest.length > 0) {
      const allowed = await until(
        `a window on channel ${id}`,
        () => this.allowed(id) > sent && this.allowed(id),
      );
      const part = rest.subarray(0, Math.min(20_000, allowed - sent));
      this.data(id, part);
      rest = rest.subarray(part.length);
      sent += part.length;
      this.sent.set(id, sent);
    }
  }

  destroy(): void {
    this.socket.destroy();
  }

  private send(command: number, id: number, body: Buffer = Buffer.alloc(0), payload?: Buffer): void {
    const head = Buffer.alloc(7);
    head.writeUInt16LE(7 + body.length, 0);
    head[2] = command;
    head.writeUInt32LE(id, 3);
    this.socket.write(Buffer.concat(payload === undefined ? [head, body] : [head, body, payload]));
  }

  private read(chunk: Buffer): void {
    this.pending = Buffer.concat([this.pending, chunk]);
    if (this.hello === undefined) {
      if (this.pending.length < 54) return;
      if (this.pending.toString('latin1', 0, 52) !== TEXT) throw new Error('not the multiplexer protocol');
      const end = 54 + this.pending.readUInt16LE(52);
      if (this.pending.length < end) return;
      this.hello = this.pending.subarray(54, end);
      this.pending = this.pending.subarray(end);
    }
    for (let frame = this.cut(); frame !== undefined; frame = this.cut()) {
      this.frames.push(frame);
      this.onFrame(frame);
    }
  }

  private cut(): Frame | undefined {
    const bytes = this.pending;
    if (bytes.length < 7) return undefined;
    const head = bytes.readUInt16LE(0);
    if (bytes.length < head) return undefined;
    const command = bytes[2]!;
    const end = head + (command === DATA ? bytes.readUInt32LE(7) : 0);
    if (bytes.length < end) return undefined;
    this.pending = bytes.subarray(end);
    const body = Buffer.from(bytes.subarray(7, head));
    return { command, id: bytes.readUInt32LE(3), body, payload: Buffer.from(bytes.subarray(head, end)) };
  }
}
