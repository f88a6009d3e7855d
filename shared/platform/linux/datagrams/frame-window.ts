/**
 * Reads u32 frames (shared/relay/udp-frame.ts) where a read(2) has put them. Pure, but for who fills the window: what
 * a read has left of a frame goes to the front of the next one, so that every frame lies in one piece. Addresses are
 * skipped, since neither engine uses those that it receives.
 */
import { BridgeError } from '../../../errors.ts';
import { MAX_FLOW_FRAME_BYTES } from '../../../relay/udp-frame.ts';

const FIXED = 10;
const FLAG_ENDED = 2;

export interface FrameReader {
  /** @param at where in the window the payload begins */
  frame(flow: number, ended: boolean, at: number, length: number): void;
  /** No frame is in the window any more from now on. */
  passed(): void;
}

/** What one stream has left of a frame; the window is shared. */
export interface Carry {
  rest: Buffer | undefined;
}

/** @returns where the next bytes of a stream have to be put */
export function beginWindow(window: Buffer, carry: Carry): number {
  if (carry.rest === undefined) return 0;
  window.set(carry.rest, 0);
  return carry.rest.length;
}

/**
 * Gives every whole frame to the reader, and keeps the rest.
 * @param end where the bytes of the stream end
 * @throws BridgeError PROTOCOL at a malformed frame
 */
export function readWindow(window: Buffer, end: number, carry: Carry, reader: FrameReader): void {
  let at = 0;
  try {
    while (end - at >= 4) {
      const total =
        window[at]! + window[at + 1]! * 0x100 + window[at + 2]! * 0x1_0000 + window[at + 3]! * 0x100_0000;
      if (total < FIXED || total > MAX_FLOW_FRAME_BYTES) malformed(`it has ${total} bytes`);
      if (total > end - at) break;
      const header = window[at + 9]!;
      if (header < FIXED || header > total) malformed(`header of ${header} bytes`);
      const ended = (window[at + 8]! & FLAG_ENDED) !== 0;
      if (ended && total > header) malformed('payload behind the end of a flow');
      const flow =
        window[at + 4]! + window[at + 5]! * 0x100 + window[at + 6]! * 0x1_0000 + window[at + 7]! * 0x100_0000;
      reader.frame(flow, ended, at + header, total - header);
      at += total;
    }
  } finally {
    reader.passed();
  }
  carry.rest = at === end ? undefined : Buffer.from(window.subarray(at, end));
}

function malformed(what: string): never {
  throw new BridgeError('PROTOCOL', `malformed UDP frame: ${what}`);
}
