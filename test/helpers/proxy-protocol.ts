/**
 * A reader of PROXY protocol headers as the specification words them, written without a look at what writes them:
 * https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, sections 2.1 and 2.2.
 */
import { SocketAddress } from 'node:net';

export interface ProxyHeader {
  readonly version: 1 | 2;
  /** `unknown` for UNKNOWN and LOCAL: the receiver takes the real addresses of the connection. */
  readonly family: 'ipv4' | 'ipv6' | 'unknown';
  readonly source?: string;
  readonly sourcePort?: number;
  readonly destination?: string;
  readonly destinationPort?: number;
  /** How many bytes it took. */
  readonly bytes: number;
}

const V1_LONGEST = 107;

/** @returns undefined while it is incomplete. @throws when it breaks a rule of the specification */
export function readProxyHeader(bytes: Buffer): ProxyHeader | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === 0x50) return readText(bytes);
  if (bytes[0] === 0x0d) return readBinary(bytes);
  throw new Error(`begins with ${bytes[0]}`);
}

function readText(bytes: Buffer): ProxyHeader | undefined {
  const end = bytes.indexOf('\r\n');
  if (end < 0) {
    if (bytes.length >= V1_LONGEST) throw new Error('no CRLF in 107 bytes');
    return undefined;
  }
  if (end + 2 > V1_LONGEST) throw new Error(`${end + 2} bytes`);
  const words = bytes.toString('latin1', 0, end).split(' ');
  if (words[0] !== 'PROXY') throw new Error(`begins with ${words[0]}`);
  if (words[1] === 'UNKNOWN') return { version: 1, family: 'unknown', bytes: end + 2 };
  if (words.length !== 6) throw new Error(`${words.length} words`);
  const family = words[1] === 'TCP4' ? 'ipv4' : words[1] === 'TCP6' ? 'ipv6' : undefined;
  if (family === undefined) throw new Error(`family ${words[1]}`);
  const [source, destination] = [words[2]!, words[3]!].map(
    (text) => new SocketAddress({ address: text, family }),
  );
  const [sourcePort, destinationPort] = [words[4]!, words[5]!].map((text) => {
    if (!/^(0|[1-9]\d{0,4})$/.test(text) || Number(text) > 65_535) throw new Error(`port ${text}`);
    return Number(text);
  });
  return {
    version: 1,
    family,
    source: source!.address,
    destination: destination!.address,
    sourcePort: sourcePort!,
    destinationPort: destinationPort!,
    bytes: end + 2,
  };
}

const V2_SIGNATURE = '\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A';

function readBinary(bytes: Buffer): ProxyHeader | undefined {
  if (bytes.length < 16) return undefined;
  if (bytes.toString('latin1', 0, 12) !== V2_SIGNATURE) throw new Error('wrong signature');
  const version = bytes[12]! >> 4;
  const command = bytes[12]! & 0xf;
  if (version !== 2) throw new Error(`version ${version}`);
  if (command > 1) throw new Error(`command ${command}`);
  const whole = 16 + bytes.readUInt16BE(14);
  if (bytes.length < whole) return undefined;
  if (command === 0) return { version: 2, family: 'unknown', bytes: whole };
  const view = new DataView(bytes.buffer, bytes.byteOffset + 16, whole - 16);
  if (bytes[13] === 0x11) {
    const quad = (at: number) => [0, 1, 2, 3].map((index) => view.getUint8(at + index)).join('.');
    return {
      version: 2,
      family: 'ipv4',
      source: quad(0),
      destination: quad(4),
      sourcePort: view.getUint16(8),
      destinationPort: view.getUint16(10),
      bytes: whole,
    };
  }
  if (bytes[13] !== 0x21) throw new Error(`family and protocol ${bytes[13]}`);
  const groups = (at: number) => {
    const text = Array.from({ length: 8 }, (_, index) => view.getUint16(at + 2 * index).toString(16)).join(
      ':',
    );
    return new SocketAddress({ address: text, family: 'ipv6' }).address;
  };
  return {
    version: 2,
    family: 'ipv6',
    source: groups(0),
    destination: groups(16),
    sourcePort: view.getUint16(32),
    destinationPort: view.getUint16(34),
    bytes: whole,
  };
}
