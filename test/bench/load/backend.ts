/**
 * The stand-in for a container, in a process of its own: `backend.js IP PORT`, TCP and UDP at the same port. It is
 * killed when it is not needed any more, and ends by itself when whoever started it has.
 */
import { chooseNetwork } from './choose.ts';
import type { Connection, ConnectionHandler, Network } from './network.ts';
import * as words from './words.ts';

const LAST = Buffer.from('lose\r\n\r\n');
const END = Buffer.from('\r\n\r\n');
/** How often it is looked at whether those who started us are still there, milliseconds. */
const PARENT_MS = 500;
/** In a PID namespace of its own it cannot see that. It ends after this time whatever happens, milliseconds. */
const LIFETIME_MS = 600_000;

type Kind = 'unknown' | 'sink' | 'source' | 'http';

/** Serves one connection as its first line asks. */
class Served implements ConnectionHandler {
  private kind: Kind = 'unknown';
  private count = 0;

  received(connection: Connection, bytes: Buffer, length: number): void {
    if (this.kind === 'sink') this.count += length;
    else if (this.kind === 'http') this.answer(connection, bytes, length);
    else if (this.kind === 'unknown') this.begin(connection, bytes, length);
  }

  ended(connection: Connection): void {
    if (this.kind === 'sink') connection.write(words.encodeCount(this.count));
    if (this.kind === 'source') connection.write(words.encodeCount(connection.stopFlood()));
    if (this.kind === 'sink' || this.kind === 'source') return connection.end();
    connection.close();
  }

  failed(): void {} // the client finds out by itself

  private begin(connection: Connection, bytes: Buffer, length: number): void {
    if (startsWith(bytes, length, words.SINK)) {
      this.kind = 'sink';
      this.count = length - words.SINK.length;
    } else if (startsWith(bytes, length, words.SOURCE)) {
      this.kind = 'source';
      connection.flood();
    } else {
      this.kind = 'http';
      this.answer(connection, bytes, length);
    }
  }

  /** A request of ours comes in one piece, so its end is the end of what was read. */
  private answer(connection: Connection, bytes: Buffer, length: number): void {
    if (!endsWith(bytes, length, END)) return;
    if (!endsWith(bytes, length, LAST)) return connection.write(words.ANSWER);
    connection.write(words.LAST_ANSWER);
    connection.end();
  }
}

function startsWith(bytes: Buffer, length: number, text: Buffer): boolean {
  return length >= text.length && bytes.compare(text, 0, text.length, 0, text.length) === 0;
}

function endsWith(bytes: Buffer, length: number, text: Buffer): boolean {
  return length >= text.length && bytes.compare(text, 0, text.length, length - text.length, length) === 0;
}

/** Counts or echoes datagrams. */
function datagramServer(): (bytes: Buffer, length: number) => boolean {
  let run = -1;
  let count = 0;
  return (bytes, length) => {
    if (length < words.LEAST_DATAGRAM) return false;
    const kind = bytes[words.KIND_AT];
    if (kind === words.ECHO) return true;
    const its = bytes.readUInt32LE(words.RUN_AT);
    if (kind === words.ASKS_COUNT) {
      bytes.writeUInt32LE(its === run ? count : 0, words.NUMBER_AT);
      return true;
    }
    if (its !== run) {
      run = its;
      count = 0;
    }
    count++;
    return false;
  };
}

function endWithParent(network: Network): void {
  const parent = process.ppid;
  const look = () => {
    if (process.ppid !== parent || performance.now() > LIFETIME_MS) process.exit();
    network.after(PARENT_MS, look);
  };
  look();
}

const [ip = '127.0.0.1', port = ''] = process.argv.slice(2);
const network = await chooseNetwork();
endWithParent(network);
await network.listen(ip, Number(port), () => new Served());
await network.bindDatagrams(ip, Number(port), datagramServer());
await network.run();
