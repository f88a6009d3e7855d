/**
 * Incremental decoder of mux frames: any split of the input gives the same calls of the sink. Headers are
 * decoded in place when they lie in one chunk; only a header cut by a chunk's end is collected (at most
 * MAX_HEADER_BYTES). Payload is passed on as slices of the input, never gathered, except a control message.
 */
import { type Destination, decodeDestination } from '../destination.ts';
import { BridgeError } from '../errors.ts';
import { decodeDetails, type StreamDetails } from '../stream-details.ts';
import {
  COMMAND,
  CONNECTION_MULTIPLEXED,
  commandName,
  HEADER_BYTES,
  MAX_CONTROL_BYTES,
  MAX_HEADER_BYTES,
} from './frame.ts';

/** What a decoder calls, in wire order. Whatever a call throws ends the decoding. */
export interface FrameSink {
  /** @param details what stands behind the destination; undefined when nothing does */
  opened(id: number, destination: Destination, details: StreamDetails | undefined): void;
  close(id: number): void;
  shutdown(id: number): void;
  window(id: number, sequence: number): void;
  /** A Data frame of `length` payload bytes begins; `data` follows with its slices. */
  dataBegin(id: number, length: number): void;
  data(id: number, slice: Buffer): void;
  dialResult(id: number, errno: number): void;
  reset(id: number, errno: number): void;
  streamReset(id: number, errno: number): void;
  control(payload: Buffer): void;
  ping(number: number): void;
  pong(number: number): void;
}

const EXACT_LENGTH = new Map<number, number>([
  [COMMAND.close, HEADER_BYTES],
  [COMMAND.shutdown, HEADER_BYTES],
  [COMMAND.data, HEADER_BYTES + 4],
  [COMMAND.window, HEADER_BYTES + 8],
  [COMMAND.control, HEADER_BYTES + 4],
  [COMMAND.dialResult, HEADER_BYTES + 4],
  [COMMAND.reset, HEADER_BYTES + 4],
  [COMMAND.streamReset, HEADER_BYTES + 4],
  [COMMAND.ping, HEADER_BYTES + 4],
  [COMMAND.pong, HEADER_BYTES + 4],
]);

export class FrameDecoder {
  private readonly sink: FrameSink;
  private head: Buffer = Buffer.alloc(0);
  /** Payload bytes still to come, and of which channel; `control` collects instead. */
  private remaining = 0;
  private payloadId = 0;
  private control: Buffer[] | undefined;

  constructor(sink: FrameSink) {
    this.sink = sink;
  }

  /**
   * Takes the next bytes of the stream.
   * @throws BridgeError PROTOCOL on a malformed frame; the decoder must not be used after that
   */
  push(chunk: Buffer): void {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.remaining > 0) {
        const end = Math.min(chunk.length, offset + this.remaining);
        this.payload(chunk.subarray(offset, end));
        offset = end;
      } else if (this.head.length > 0) {
        offset = this.continueHead(chunk, offset);
      } else {
        const length = headerLength(chunk, offset);
        if (length === undefined || chunk.length - offset < length) {
          this.head = Buffer.from(chunk.subarray(offset));
          return;
        }
        this.frame(chunk, offset, length);
        offset += length;
      }
    }
  }

  /** The last byte that came ended a frame. */
  get atBoundary(): boolean {
    return this.head.length === 0 && this.remaining === 0;
  }

  /** Adds just the bytes that the cut header lacks. */
  private continueHead(chunk: Buffer, offset: number): number {
    const want = (headerLength(this.head, 0) ?? 2) - this.head.length;
    const end = Math.min(chunk.length, offset + want);
    this.head = Buffer.concat([this.head, chunk.subarray(offset, end)]);
    const length = headerLength(this.head, 0);
    if (length !== undefined && this.head.length === length) {
      const whole = this.head;
      this.head = Buffer.alloc(0);
      this.frame(whole, 0, length);
    }
    return end;
  }

  private payload(slice: Buffer): void {
    this.remaining -= slice.length;
    if (this.control === undefined) {
      this.sink.data(this.payloadId, slice);
      return;
    }
    this.control.push(slice);
    if (this.remaining > 0) return;
    const whole = this.control.length === 1 ? slice : Buffer.concat(this.control);
    this.control = undefined;
    this.sink.control(whole);
  }

  private frame(bytes: Buffer, at: number, length: number): void {
    const command = bytes[at + 2]!;
    const id = bytes.readUInt32LE(at + 3);
    const body = at + HEADER_BYTES;
    if (command === COMMAND.open) return this.open(bytes, body, at + length, id);
    const exact = EXACT_LENGTH.get(command);
    if (exact === undefined) throw new BridgeError('PROTOCOL', `unknown ${commandName(command)}`);
    if (exact !== length)
      throw new BridgeError('PROTOCOL', `${commandName(command)} frame with a header of ${length} bytes`);
    switch (command) {
      case COMMAND.data:
        this.payloadId = id;
        this.remaining = bytes.readUInt32LE(body);
        return this.sink.dataBegin(id, this.remaining);
      case COMMAND.window: {
        const high = bytes.readUInt32LE(body + 4);
        if (high > 0x1f_ffff) throw new BridgeError('PROTOCOL', 'window sequence number above 2^53');
        return this.sink.window(id, high * 0x1_0000_0000 + bytes.readUInt32LE(body));
      }
      case COMMAND.close:
        return this.sink.close(id);
      case COMMAND.shutdown:
        return this.sink.shutdown(id);
      case COMMAND.dialResult:
        return this.sink.dialResult(id, bytes.readUInt32LE(body));
      case COMMAND.reset:
        return this.sink.reset(id, bytes.readUInt32LE(body));
      case COMMAND.streamReset:
        return this.sink.streamReset(id, bytes.readUInt32LE(body));
      case COMMAND.ping:
        return this.sink.ping(bytes.readUInt32LE(body));
      case COMMAND.pong:
        return this.sink.pong(bytes.readUInt32LE(body));
      default:
        return this.beginControl(bytes.readUInt32LE(body));
    }
  }

  private open(bytes: Buffer, body: number, end: number, id: number): void {
    if (end <= body) throw new BridgeError('PROTOCOL', 'open frame cut short');
    if (bytes[body] !== CONNECTION_MULTIPLEXED)
      throw new BridgeError('PROTOCOL', `open frame asks for connection kind ${bytes[body]}`);
    const { destination, end: at } = decodeDestination(bytes.subarray(0, end), body + 1);
    this.sink.opened(id, destination, at === end ? undefined : decodeDetails(bytes, at, end));
  }

  private beginControl(length: number): void {
    if (length === 0 || length > MAX_CONTROL_BYTES)
      throw new BridgeError('PROTOCOL', `control message of ${length} bytes`);
    this.remaining = length;
    this.control = [];
  }
}

/** The header length that stands at `offset`, or undefined when not even that has arrived. */
function headerLength(bytes: Buffer, offset: number): number | undefined {
  if (bytes.length - offset < 2) return undefined;
  const length = bytes.readUInt16LE(offset);
  if (length < HEADER_BYTES || length > MAX_HEADER_BYTES)
    throw new BridgeError('PROTOCOL', `frame header of ${length} bytes`);
  return length;
}
