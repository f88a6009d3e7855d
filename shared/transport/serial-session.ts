/**
 * One session over a byte stream that has no sessions of its own and may hold garbage, or what an earlier session left:
 * bytes in, frames out. Each side draws a nonce and repeats its hello. A session begins when the peer has echoed our
 * nonce, which nobody could know before: a hello that is left over is a valid hello, but echoes another nonce. From then
 * on every frame carries the receiver's nonce, a sequence number and a checksum, so that a lost byte ends the session
 * instead of going unnoticed.
 */
import { randomBytes } from 'node:crypto';
import { BridgeError } from '../errors.ts';
import { crc32 } from './crc32.ts';
import {
  decodeSerialHeader,
  encodeSerialFrame,
  encodeSerialHello,
  HEADER_BYTES,
  MAGIC,
  MAX_PAYLOAD,
  NOBODY,
  NONCE_BYTES,
  type SerialHeader,
} from './serial-frame.ts';

export interface SerialEvents {
  send(bytes: Buffer): void;
  /** The session has begun: frames may be sent. */
  opened(): void;
  data(payload: Buffer): void;
  /** Called once; the session is over then. */
  over(reason: BridgeError): void;
}

export class SerialSession {
  private readonly mine = randomBytes(NONCE_BYTES);
  private readonly events: SerialEvents;
  private peer: Buffer = NOBODY;
  private state: 'seeking' | 'open' | 'over' = 'seeking';
  private sent = 0;
  private received = 0;
  private pending: Buffer = Buffer.alloc(0);

  constructor(events: SerialEvents) {
    this.events = events;
  }

  /** What was received and not understood: for the next session, since its beginning may be among it. */
  get rest(): Buffer {
    return this.pending;
  }

  /** Begins: fills up a frame that the peer may still wait for, of whoever was here before us, and says who we are. */
  begin(): void {
    this.events.send(Buffer.alloc(HEADER_BYTES + MAX_PAYLOAD));
    this.hello();
  }

  /** Says who we are; repeated until the session has begun. */
  hello(): void {
    if (this.state === 'seeking') this.events.send(encodeSerialHello(this.mine, this.peer));
  }

  /** Shows that we are alive. */
  beat(): void {
    if (this.state === 'open') this.send('beat');
  }

  write(payload: Buffer): void {
    for (let at = 0; at < payload.length && this.state === 'open'; at += MAX_PAYLOAD)
      this.send('data', payload.subarray(at, at + MAX_PAYLOAD));
  }

  /** Ends the session on our side, and tells the peer. */
  end(): void {
    if (this.state === 'open') this.send('end');
    this.state = 'over';
  }

  /** Ends the session on our side without a word. */
  fail(why: string): void {
    if (this.state === 'over') return;
    this.state = 'over';
    this.events.over(new BridgeError('LINK_LOST', why));
  }

  /** @returns whether a frame was understood: that the peer is alive */
  receive(chunk: Buffer): boolean {
    this.pending = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    let understood = false;
    while (this.step()) understood = true;
    return understood;
  }

  /** Takes one frame. @returns whether there was one that told something */
  private step(): boolean {
    if (this.state === 'over') return false;
    if (this.state === 'seeking') this.skipGarbage();
    if (this.pending.length < HEADER_BYTES) return false;
    const header = decodeSerialHeader(this.pending);
    if (header === undefined) {
      this.fail('bytes on the serial port were lost or garbled');
      return false;
    }
    if (header.type === 'hello') return this.takeHello(header);
    return this.state === 'open' ? this.takeFrame(header) : this.drop(HEADER_BYTES);
  }

  /** Goes on to what may be a header. A payload is not skipped but searched: it may have been cut off. */
  private skipGarbage(): void {
    let at = 0;
    for (;;) {
      at = this.pending.indexOf(MAGIC, at);
      if (at < 0) at = Math.max(0, this.pending.length - MAGIC.length + 1);
      else if (
        this.pending.length - at >= HEADER_BYTES &&
        decodeSerialHeader(this.pending.subarray(at)) === undefined
      ) {
        at++;
        continue;
      }
      this.pending = this.pending.subarray(at);
      return;
    }
  }

  private takeHello({ from, heard }: Extract<SerialHeader, { type: 'hello' }>): boolean {
    if (this.state === 'open' && !from.equals(this.peer)) {
      this.fail('the other side of the serial port began anew'); // its hello stays, for the next session
      return false;
    }
    this.drop(HEADER_BYTES);
    if (this.state === 'open') return true;
    if (from.equals(this.mine)) return true; // an echo, as of a terminal that is not raw
    const known = from.equals(this.peer);
    this.peer = from;
    if (heard.equals(this.mine)) {
      this.hello(); // the peer needs the echo of its own nonce too, ahead of the first frame
      this.state = 'open';
      this.events.opened();
    } else if (!known) this.hello();
    return true;
  }

  private takeFrame(frame: Exclude<SerialHeader, { type: 'hello' }>): boolean {
    if (!frame.to.equals(this.mine) || frame.sequence !== this.received) {
      this.fail('frames on the serial port were lost');
      return false;
    }
    const end = HEADER_BYTES + frame.length;
    if (this.pending.length < end) return false;
    const payload = this.pending.subarray(HEADER_BYTES, end);
    if (crc32(payload) !== frame.crc) {
      this.drop(HEADER_BYTES); // what stands in the place of its payload may be the beginning of the next session
      this.fail('bytes on the serial port were lost or garbled');
      return false;
    }
    this.received = (this.received + 1) >>> 0;
    this.drop(end);
    if (frame.type === 'data') this.events.data(payload);
    else if (frame.type === 'end') this.fail('the other side of the serial port has ended the session');
    return true;
  }

  private drop(bytes: number): true {
    this.pending = this.pending.subarray(bytes);
    return true;
  }

  private send(type: 'data' | 'beat' | 'end', payload?: Buffer): void {
    const [header, body] = encodeSerialFrame(type, this.peer, this.sent, payload);
    this.sent = (this.sent + 1) >>> 0;
    this.events.send(header);
    if (body.length > 0) this.events.send(body);
  }
}
