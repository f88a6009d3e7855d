/**
 * Cuts what programs of ours say to each other into pieces that have names, without changing a byte: what a proxy between
 * them needs to stop at a certain message. Written from the protocols (docs/protocol.md, intro(5) of Plan 9), not from our
 * decoders.
 */
import { unpack } from 'msgpackr';

export interface Piece {
  /** What it is, e.g. `hello`, `claim`, `data`, `Twrite`. */
  readonly kind: string;
  readonly bytes: Buffer;
}

/** Cuts one direction of one stream. */
export interface Cutter {
  push(chunk: Buffer): Piece[];
}

/** Answers how long the piece at the start is; undefined while that cannot be known. */
type Measure = (bytes: Buffer) => { readonly kind: string; readonly length: number } | undefined;

/** Collects until a piece is whole; large ones are held, which a window or msize bounds. */
abstract class Collector implements Cutter {
  private pending: Buffer = Buffer.alloc(0);
  protected abstract readonly measure: Measure;

  push(chunk: Buffer): Piece[] {
    this.pending = this.pending.length === 0 ? chunk : Buffer.concat([this.pending, chunk]);
    const pieces: Piece[] = [];
    while (this.pending.length > 0) {
      const found = this.measure(this.pending);
      if (found === undefined || this.pending.length < found.length) break;
      const bytes = this.pending.subarray(0, found.length);
      this.pending = this.pending.subarray(found.length);
      pieces.push({ kind: found.kind, bytes });
    }
    return pieces;
  }
}

const HANDSHAKE_TEXT_BYTES = 52;
const PROOF_BYTES = 32;
const RESULT_BYTES = 8;
const FRAME: Record<number, string> = {
  1: 'open',
  2: 'close',
  3: 'shutdown',
  4: 'data',
  5: 'window',
  64: 'control',
  65: 'dial-result',
  66: 'reset',
  67: 'stream-reset',
};

/** A stream of the transport: a link (hello, proof, control messages by their type, frames), or a dedicated or spare stream. */
export class LinkCutter extends Collector {
  private readonly answers: boolean;
  private readonly proofs: boolean;
  private after: Measure | undefined;
  /** What begins a stream: `ht` a link, 50 fe a dedicated one, 53 fe a spare one. */
  protected readonly measure: Measure = (bytes) => {
    if (this.after !== undefined) return this.after(bytes);
    if (bytes.length < 2) return undefined;
    const first = bytes.readUInt16BE(0);
    if (first === 0x6874) {
      if (bytes.length < HANDSHAKE_TEXT_BYTES + 2) return undefined;
      const length = HANDSHAKE_TEXT_BYTES + 2 + bytes.readUInt16LE(HANDSHAKE_TEXT_BYTES);
      if (bytes.length >= length) this.after = this.proofs ? this.measureProof : measureFrame;
      return { kind: 'hello', length };
    }
    if ((first === 0x50fe || first === 0x53fe) && bytes.length < 4) return undefined;
    if (first === 0x53fe) {
      const length = bytes.readUInt16LE(2);
      if (bytes.length >= length) this.after = this.measureAnswer;
      return { kind: 'spare', length };
    }
    const raw = first !== 0x50fe;
    const length = raw ? bytes.length : this.answers ? RESULT_BYTES : bytes.readUInt16LE(2);
    if (bytes.length >= length) this.after = measureRaw;
    return { kind: raw ? 'data' : this.answers ? 'answer' : 'preface', length };
  };

  /**
   * @param answers it is the direction in which dedicated streams are answered
   * @param proofs both sides prove that they have a token
   */
  constructor(answers: boolean, proofs = false) {
    super();
    this.answers = answers;
    this.proofs = proofs;
  }

  private readonly measureProof: Measure = (bytes) => {
    if (bytes.length >= PROOF_BYTES) this.after = measureFrame;
    return { kind: 'proof', length: PROOF_BYTES };
  };

  private readonly measureAnswer: Measure = (bytes) => {
    if (bytes.length >= RESULT_BYTES) this.after = measureRaw;
    return { kind: 'answer', length: RESULT_BYTES };
  };
}

function measureRaw(bytes: Buffer): { kind: string; length: number } {
  return { kind: 'data', length: bytes.length };
}

function measureFrame(bytes: Buffer): { kind: string; length: number } | undefined {
  if (bytes.length < 3) return undefined;
  const head = bytes.readUInt16LE(0);
  const kind = FRAME[bytes[2]!] ?? `command ${bytes[2]}`;
  if (kind !== 'data' && kind !== 'control') return { kind, length: head };
  if (bytes.length < head) return undefined;
  const length = head + bytes.readUInt32LE(7);
  if (kind === 'data' || bytes.length < length) return { kind, length };
  return { kind: controlType(bytes.subarray(head, length)), length };
}

function controlType(payload: Buffer): string {
  const { type } = unpack(payload) as { type?: unknown };
  return typeof type === 'string' ? type : 'control';
}

const P9: Record<number, string> = {
  7: 'Rlerror',
  12: 'Tlopen',
  13: 'Rlopen',
  72: 'Tmkdir',
  73: 'Rmkdir',
  100: 'Tversion',
  101: 'Rversion',
  104: 'Tattach',
  105: 'Rattach',
  107: 'Rerror',
  110: 'Twalk',
  111: 'Rwalk',
  112: 'Topen',
  113: 'Ropen',
  114: 'Tcreate',
  115: 'Rcreate',
  116: 'Tread',
  117: 'Rread',
  118: 'Twrite',
  119: 'Rwrite',
  120: 'Tclunk',
  121: 'Rclunk',
};

/** 9P messages: size[4] type[1]. */
export class P9Cutter extends Collector {
  protected readonly measure: Measure = (bytes) =>
    bytes.length < 5
      ? undefined
      : { kind: P9[bytes[4]!] ?? `message ${bytes[4]}`, length: bytes.readUInt32LE(0) };
}

/** Whatever comes, as it comes: requests and answers of HTTP that fit into one write. */
export class ChunkCutter implements Cutter {
  push(chunk: Buffer): Piece[] {
    return [{ kind: 'data', bytes: chunk }];
  }
}
