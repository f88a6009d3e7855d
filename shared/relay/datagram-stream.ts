import { BridgeError } from '../errors.ts';
import type { End } from './end.ts';
import {
  encodeFlowFrame,
  encodeU16Frame,
  type FlowFrame,
  FlowFrameDecoder,
  type U16Frame,
  U16FrameDecoder,
} from './udp-frame.ts';

/** One notation of datagrams on a byte stream; a fresh one for each stream, because decoding has state. */
export interface FrameCodec<F> {
  /** Undefined when the notation cannot say this frame. */
  encode(frame: F): Buffer[] | undefined;
  push(chunk: Buffer, onFrame: (frame: F) => void): void;
}

/** Our u32 frames: all flows of a forward on one stream. */
export function flowCodec(): FrameCodec<FlowFrame> {
  const decoder = new FlowFrameDecoder();
  return { encode: encodeFlowFrame, push: (chunk, onFrame) => decoder.push(chunk, onFrame) };
}

/** vpnkit's u16 frames. */
export function u16Codec(): FrameCodec<U16Frame> {
  const decoder = new U16FrameDecoder();
  return { encode: encodeU16Frame, push: (chunk, onFrame) => decoder.push(chunk, onFrame) };
}

/** What may wait for a busy link before datagrams are dropped, bytes. */
export const MAX_BACKLOG_BYTES = 1024 * 1024;

export interface DatagramStreamHandler<F> {
  frame(frame: F): void;
  /** The stream is over. @param error why, when the peer did not just end it */
  closed(error: BridgeError | undefined): void;
}

/** Carries datagrams on an end. It never blocks: what a full stream or the notation does not take is dropped. */
export class DatagramStream<F> {
  private readonly end: End;
  private readonly codec: FrameCodec<F>;
  private error: BridgeError | undefined;

  /** Takes over the end and begins to read. */
  constructor(end: End, codec: FrameCodec<F>, handler: DatagramStreamHandler<F>) {
    this.end = end;
    this.codec = codec;
    end.attach({
      data: (chunk) => {
        try {
          codec.push(chunk, (frame) => handler.frame(frame));
        } catch (error) {
          this.error =
            error instanceof BridgeError ? error : new BridgeError('IO', 'internal error', { cause: error });
          end.reset(this.error);
        }
      },
      ended: () => end.end(),
      reset: (error) => {
        this.error = error;
      },
      drained() {},
      closed: () => handler.closed(this.error),
    });
    end.resume();
  }

  /** @returns false when the datagram was dropped */
  send(frame: F): boolean {
    if (this.end.backlog > MAX_BACKLOG_BYTES) return false;
    const buffers = this.codec.encode(frame);
    if (buffers === undefined) return false;
    for (const buffer of buffers) this.end.write(buffer);
    return true;
  }

  /** Ends the stream and with it every flow on it. */
  close(): void {
    this.end.reset(new BridgeError('CANCELLED', 'the forward has ended'));
  }
}
