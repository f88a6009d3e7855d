/**
 * What load and backend say to each other.
 *
 * TCP: the first line decides. `sink\n`: all that follows is counted, and at its end the count is said. `source\n`:
 * zeros come until the client half-closes, then the count of them. Anything else is HTTP requests without bodies.
 * A count is COUNT_BYTES, little-endian.
 *
 * UDP: a kind (one byte), a run (u32), an index and a number (u32 each), then anything.
 */
export const SINK = Buffer.from('sink\n');
export const SOURCE = Buffer.from('source\n');
export const COUNT_BYTES = 8;

const HEAD = 'GET / HTTP/1.1\r\nHost: bench\r\n';
export const REQUEST = Buffer.from(`${HEAD}\r\n`);
export const LAST_REQUEST = Buffer.from(`${HEAD}Connection: close\r\n\r\n`);
const ANSWER_HEAD = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n';
export const ANSWER = Buffer.from(`${ANSWER_HEAD}\r\nok`);
export const LAST_ANSWER = Buffer.from(`${ANSWER_HEAD}Connection: close\r\n\r\nok`);

/** Counted by its run. */
export const COUNTED = 1;
/** Comes back with the count of its run as its number. */
export const ASKS_COUNT = 2;
/** Comes back as it is. */
export const ECHO = 3;

export const KIND_AT = 0;
export const RUN_AT = 1;
export const INDEX_AT = 5;
export const NUMBER_AT = 9;
export const LEAST_DATAGRAM = 13;

export function encodeCount(count: number): Buffer {
  const bytes = Buffer.alloc(COUNT_BYTES);
  bytes.writeBigUInt64LE(BigInt(count));
  return bytes;
}

export function decodeCount(bytes: Buffer): number {
  return Number(bytes.readBigUInt64LE(0));
}
